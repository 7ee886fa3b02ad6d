import { expect, onTestFinished, test, vi } from 'vitest'
import * as Y from 'yjs'
import { AerostackError } from '../../src/index.js'
import { AerostackProvider } from '../../src/yjs/index.js'
import { Outgoing } from '../../src/yjs/outgoing.js'
import { Assembly, type Message, messagesOf, missingIn } from '../../src/yjs/updates.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected, settled } from '../support/network.js'

function written(text: string): Y.Doc {
  const doc = new Y.Doc()
  doc.getText('text').insert(0, text)
  return doc
}

const base64 = (doc: Y.Doc) => Buffer.from(Y.encodeStateAsUpdate(doc)).toString('base64')

/** A provider whose subscription the test has answered; `data` are the updates of the history. */
async function opened(doc: Y.Doc, ...data: unknown[]): Promise<Bench & { provider: AerostackProvider }> {
  const made = await connected()
  const provider = new AerostackProvider(made.client, 'docs/plan', doc, { interval: 1 })
  made.socket.subscribed()
  for (const [n, update] of data.entries()) say(made, update, `e:${n + 1}`)
  made.socket.answer()
  await settled()
  return Object.assign(made, { provider })
}

function say({ socket }: Bench, data: unknown, cursor: string): void {
  const { topic } = socket.last('subscribe')
  socket.say({ type: 'event', topic, event: 'yjs', data, cursor, id: cursor, userId: 'bob' })
}

/** The publishes that were sent, once there are `count`. */
async function publishes({ socket }: Bench, count: number) {
  const sent = () => socket.sent.filter((frame) => frame.type === 'publish')
  await eventually(() => expect(sent().length).toBeGreaterThanOrEqual(count))
  return sent()
}

test('pieces of an update make it whole in any order', () => {
  const update = Y.encodeStateAsUpdate(written('x'.repeat(1_000)))
  const messages = messagesOf(update, 100, () => 'update')
  expect(messages.map(({ id }) => id)).toContain('update.3')
  const assembly = new Assembly()
  const pieces = messages.map(({ data }) => data)
  const last = pieces.pop()
  for (const piece of [...pieces.toReversed(), ...pieces]) expect(assembly.add(piece, 'ada')).toBeUndefined()
  expect(assembly.add(last, 'bob')).toBeUndefined() // another writer
  expect(assembly.add(last, 'ada')).toEqual(update)
})

test('nothing is missing when the server has content and deletions', () => {
  const doc = written('Hello')
  const before = Y.encodeStateAsUpdate(doc)
  expect(missingIn([before], doc)).toBeUndefined()
  doc.getText('text').delete(0, 2)
  const missing = missingIn([before], doc) as Uint8Array
  expect(missingIn([before, missing], doc)).toBeUndefined()
  expect(missingIn([], doc)).toBeDefined()
})

test('the document is synced after the history, not before', async () => {
  const made = await connected()
  const doc = new Y.Doc()
  const provider = new AerostackProvider(made.client, 'docs/plan', doc)
  const events: unknown[] = []
  provider.on('status', ({ status }) => events.push(status))
  provider.on('sync', (synced) => events.push(synced))
  expect(made.socket.last('subscribe')).toMatchObject({ topic: 'docs/plan/default', history: 'all' })
  made.socket.subscribed()
  say(made, base64(written('Hello')), 'e:1')
  await settled()
  expect([provider.synced, doc.getText('text').toString()]).toEqual([false, ''])
  made.socket.answer()
  await settled()
  expect([provider.synced, doc.getText('text').toString()]).toEqual([true, 'Hello'])
  expect(events).toEqual(['connected', true])
  provider.destroy()
})

test('edits of a moment are one update, saved when acknowledged', async () => {
  const doc = new Y.Doc()
  const made = await opened(doc)
  const saved: boolean[] = []
  made.provider.on('saved', (state) => saved.push(state))
  for (const character of 'Hello') doc.getText('text').insert(0, character)
  expect(made.provider.saved).toBe(false)
  const [publish, ...others] = await publishes(made, 1)
  expect(others).toEqual([])
  expect(publish).toMatchObject({ event: 'yjs', persist: true })
  expect(made.provider.saved).toBe(false)
  made.socket.say({ type: 'ack', id: publish?.id as string })
  await settled()
  expect([made.provider.saved, saved]).toEqual([true, [false, true]])
  made.provider.destroy()
})

test('an edit after a pause is sent at once, those soon after it together', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const doc = new Y.Doc()
  const made = await opened(doc)
  const text = doc.getText('text')
  const updates = () => made.socket.sent.flatMap((frame) => (frame.type === 'publish' ? [frame.data] : []))
  made.provider.destroy()
  const provider = new AerostackProvider(made.client, 'docs/plan', doc, { interval: 1_000 })
  made.socket.subscribed()
  made.socket.answer()
  await vi.advanceTimersByTimeAsync(1_000)
  text.insert(0, 'a')
  await vi.advanceTimersByTimeAsync(0)
  expect(updates()).toHaveLength(1)
  text.insert(1, 'b')
  await vi.advanceTimersByTimeAsync(500)
  text.insert(2, 'c')
  expect(updates()).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(500)
  expect(updates()).toHaveLength(2)
  const received = new Y.Doc()
  for (const update of updates()) Y.applyUpdate(received, Buffer.from(update as string, 'base64'))
  expect(received.getText('text').toString()).toBe('abc')
  provider.destroy()
})

test('a stored document is saved only when the server has it', async () => {
  const doc = written('From the store')
  const made = await connected()
  const provider = new AerostackProvider(made.client, 'docs/plan', doc)
  expect(provider.saved).toBe(false)
  made.socket.subscribed()
  made.socket.answer()
  const [publish] = await publishes(made, 1)
  expect(provider.saved).toBe(false)
  made.socket.say({ type: 'ack', id: publish?.id as string })
  await settled()
  expect(provider.saved).toBe(true)
  const again = await opened(doc, publish?.data)
  expect([again.provider.saved, again.socket.sent.some(({ type }) => type === 'publish')]).toEqual([
    true,
    false,
  ])
  provider.destroy()
  again.provider.destroy()
})

test('a refused edit is not saved, and is sent in the next session', async () => {
  const doc = new Y.Doc()
  const made = await opened(doc)
  const refused: string[] = []
  made.provider.on('refused', ({ code }) => refused.push(code))
  doc.getText('text').insert(0, 'No')
  const [publish] = await publishes(made, 1)
  made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, id: publish?.id })
  await settled()
  expect([refused, made.provider.saved]).toEqual([['forbidden'], false])
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  made.socket.subscribed('e:0', true)
  made.socket.answer()
  const [again] = await publishes(made, 1)
  made.socket.say({ type: 'ack', id: again?.id as string })
  await settled()
  expect(made.provider.saved).toBe(true)
  made.provider.destroy()
})

test('an unreadable update is reported, and those after it are applied', async () => {
  const doc = new Y.Doc()
  const made = await opened(doc, 'AAECAwQ=', null, base64(written('Fine')))
  expect(doc.getText('text').toString()).toBe('Fine')
  expect(made.errors).toEqual(['bad_message', 'bad_message'])
  made.provider.destroy()
})

test('a piece that is too large for the server is divided', async () => {
  const doc = written('x'.repeat(3_000))
  const sent: Message[] = []
  const outgoing = new Outgoing({
    publish: async (message) => {
      const bytes = JSON.stringify(message.data).length
      if (bytes > 1_500) throw new AerostackError('too_large', 'Too large.')
      sent.push(message)
    },
    id: () => `update ${sent.length}`,
    later: (_, callback) => callback(),
    stopped: () => false,
    changed: () => {},
    refused: (error) => expect.unreachable(error.message),
  })
  outgoing.add(Y.encodeStateAsUpdate(doc))
  outgoing.send()
  await eventually(() => expect(outgoing.empty).toBe(true))
  const assembly = new Assembly()
  const whole = sent.map(({ data }) => assembly.add(data)).filter((update) => update !== undefined)
  const copy = new Y.Doc()
  for (const update of whole) Y.applyUpdate(copy, update)
  expect(copy.getText('text').length).toBe(3_000)
})

test('cursors of others go and return with the connection', async () => {
  const made = await connected()
  const provider = new AerostackProvider(made.client, 'docs/plan', new Y.Doc())
  const names = () => [7, 8].map((id) => provider.awareness.getStates().get(id)?.name)
  const join = (clientId: number, name: string) => {
    const { topic } = made.socket.last('subscribe')
    const data = { clientId, clock: 3, awareness: { name } }
    const member = { userId: name, connectionId: `c-${clientId}`, timestamp: 1 }
    made.socket.say({ type: 'event', topic, event: 'presence:join', data, snapshot: true, ...member })
  }
  const begin = async (...before: [number, string][]) => {
    made.socket.subscribed('e:0')
    for (const member of before) join(...member)
    const bob = { userId: 'Bob', connectionId: 'c-7', since: 1 }
    const members = [{ ...bob, state: { clientId: 7, clock: 3, awareness: { name: 'Bob' } } }]
    for (const frame of made.socket.sent)
      if (frame.type === 'presence') made.socket.say({ ...frame, members })
  }
  await begin([7, 'Bob'])
  join(8, 'Eve') // after the list, but before anything that waits for it
  await settled()
  expect(names()).toEqual(['Bob', 'Eve'])
  made.socket.drop()
  expect(names()).toEqual([undefined, undefined])
  await made.clock.pass(1_000)
  made.socket.accept()
  await begin([7, 'Bob'])
  await settled()
  expect(names()).toEqual(['Bob', undefined])
  provider.destroy()
})

test('an own cursor is tracked per connection, and ends with the provider', async () => {
  const made = await opened(new Y.Doc())
  made.provider.awareness.setLocalStateField('name', 'Ada')
  await eventually(() =>
    expect(made.socket.last('track').state).toMatchObject({ awareness: { name: 'Ada' } }),
  )
  expect(made.socket.last('track')).toMatchObject({ per: 'connection' })
  made.provider.destroy()
  await settled()
  expect(made.socket.last('untrack')).toMatchObject({ topic: 'docs/plan/default' })
  expect(made.socket.last('unsubscribe')).toMatchObject({ topic: 'docs/plan/default' })
})
