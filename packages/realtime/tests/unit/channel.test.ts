import { expect, test, vi } from 'vitest'
import type { RealtimePayload } from '../../src/index.js'
import { event, live, reconnect, TOPIC, types } from '../support/channel.js'
import { bench, connected, settled } from '../support/network.js'

test('subscribe connects and resolves with the channel', async () => {
  const made = bench()
  const channel = made.client.channel('chat/general')
  const subscribing = channel.subscribe()
  await settled()
  made.socket.accept()
  expect(made.socket.last('subscribe')).toMatchObject({ topic: TOPIC })
  made.socket.subscribed('e:7')
  expect(await subscribing).toBe(channel)
  expect(channel.cursor).toBe('e:7')
})

test('listeners receive their event, `*` receives all', async () => {
  const made = await connected()
  const heard: string[] = []
  const channel = made.client.channel('chat/general')
  const typing = () => heard.push('typing')
  channel
    .on('message', ({ topic, data, id, cursor }) => heard.push(`${topic} ${data} ${id} ${cursor}`))
    .on('typing', typing)
    .on('*', ({ event }) => heard.push(`* ${event}`))
    .off('typing', typing)
    .subscribe()
  made.socket.subscribed()
  made.socket.say(event('e:1', 'hello'))
  made.socket.say(event('e:2', null, 'typing'))
  expect(heard).toEqual(['chat/general hello m-e:1 e:1', '* message', '* typing'])
})

test('a table channel receives INSERT, UPDATE and DELETE', async () => {
  const made = await connected()
  const heard: RealtimePayload[] = []
  const channel = made.client.channel('orders')
  for (const operation of ['INSERT', 'UPDATE', 'DELETE'])
    channel.on(operation, (payload) => heard.push(payload))
  channel.subscribe()
  made.socket.subscribed()
  const topic = 'table/orders/default'
  made.socket.say({ type: 'db_change', topic, operation: 'INSERT', data: { id: 1 }, cursor: 'c:1' })
  made.socket.say({
    type: 'db_change',
    topic,
    operation: 'UPDATE',
    data: { id: 1, n: 2 },
    old: { id: 1 },
    cursor: 'c:2',
  })
  made.socket.say({
    type: 'db_change',
    topic,
    operation: 'DELETE',
    data: { id: 1 },
    old: { id: 1 },
    cursor: 'c:3',
  })
  expect(heard.map(({ topic, operation, data, old }) => ({ topic, operation, data, old }))).toEqual([
    { topic: 'orders', operation: 'INSERT', data: { id: 1 }, old: undefined },
    { topic: 'orders', operation: 'UPDATE', data: { id: 1, n: 2 }, old: { id: 1 } },
    { topic: 'orders', operation: 'DELETE', data: { id: 1 }, old: { id: 1 } },
  ])
})

test('handles share one subscription until the last unsubscribes', async () => {
  const made = await connected()
  const heard: string[] = []
  const one = made.client.channel('chat/general').on('message', () => heard.push('one'))
  const two = made.client.channel('chat/general/default').on('message', () => heard.push('two'))
  one.subscribe()
  two.subscribe()
  made.socket.subscribed()
  expect(types(made.socket)).toEqual(['subscribe'])
  made.socket.say(event('e:1'))
  one.unsubscribe()
  await settled()
  made.socket.say(event('e:2'))
  expect(heard).toEqual(['one', 'two', 'two'])
  two.unsubscribe()
  await settled()
  expect(types(made.socket)).toEqual(['subscribe', 'unsubscribe'])
})

test('unsubscribe and subscribe within a tick send nothing', async () => {
  const made = await live()
  const seen: unknown[] = []
  const channel = made.client.channel('chat/general')
  for (let i = 0; i < 3; i++) {
    channel.on('message', ({ data }) => seen.push(data)).subscribe()
    if (i < 2) channel.unsubscribe()
  }
  await settled()
  made.socket.say(event('e:1'))
  expect(seen).toEqual(['e:1'])
  expect(types(made.socket)).toEqual(['subscribe'])
})

test('a channel may subscribe again after unsubscribe', async () => {
  const made = await connected()
  const channel = made.client.channel('chat/general')
  channel.subscribe()
  made.socket.subscribed()
  channel.unsubscribe()
  await settled()
  const again = channel.subscribe()
  expect(types(made.socket)).toEqual(['subscribe', 'unsubscribe', 'subscribe'])
  made.socket.subscribed()
  await again
})

test('a reconnection resumes each subscription at its cursor', async () => {
  const made = await live()
  const orders = made.client.channel('orders')
  orders.subscribe()
  made.socket.subscribed('c:9')
  made.socket.say(event('e:1'))
  const socket = await reconnect(made)
  expect(socket.sent).toMatchObject([
    { type: 'subscribe', topic: TOPIC, since: 'e:1' },
    { type: 'subscribe', topic: 'table/orders/default', since: 'c:9' },
  ])
  socket.subscribed('c:9', true)
  expect(orders.recovered).toBe(true)
})

test('advice of a server in development is printed', async () => {
  const info = vi.spyOn(console, 'info').mockImplementation(() => {})
  const made = await live()
  expect(made.socket.last('subscribe')).toMatchObject({ advice: true })
  made.socket.say({ type: 'advice', topic: TOPIC, message: 'Nothing has arrived.' })
  expect(info.mock.calls).toEqual([['Nothing has arrived.']])
  info.mockRestore()
})

test('a repeated event does not reach the listener', async () => {
  const made = await live()
  made.socket.say(event('e:1'))
  made.socket.say(event('e:2'))
  const socket = await reconnect(made)
  socket.subscribed('e:1', true)
  for (const cursor of ['e:1', 'e:2', 'e:3']) socket.say(event(cursor))
  expect(made.seen).toEqual(['e:1', 'e:2', 'e:3'])
})

test('the cursor waits for unfinished listeners', async () => {
  const made = await connected()
  const seen: unknown[] = []
  let finish = () => {}
  const channel = made.client.channel('chat/general').on('message', ({ data }) => {
    seen.push(data)
    if (data === 'e:1') return new Promise<void>((resolve) => (finish = resolve))
  })
  channel.subscribe()
  made.socket.subscribed('e:0')
  made.socket.say(event('e:1'))
  made.socket.say(event('e:2'))
  expect(channel.cursor).toBe('e:0')
  const socket = await reconnect(made)
  expect(socket.last('subscribe').since).toBe('e:0')
  socket.subscribed('e:0', true)
  socket.say(event('e:1'))
  socket.say(event('e:2'))
  expect(seen).toEqual(['e:1', 'e:2'])
  finish()
  await settled()
  expect(channel.cursor).toBe('e:2')
})

test('no event is repeated after a long unfinished one', async () => {
  const made = await connected()
  const seen: unknown[] = []
  made.client
    .channel('chat/general')
    .on('message', ({ data }) => {
      seen.push(data)
      if (data === 'e:0') return new Promise(() => {})
    })
    .subscribe()
  made.socket.subscribed('e:-')
  const all = Array.from({ length: 3_000 }, (_, index) => event(`e:${index}`))
  for (const each of all) made.socket.say(each)
  const socket = await reconnect(made)
  expect(socket.last('subscribe').since).toBe('e:-')
  socket.subscribed('e:-', true)
  for (const each of all) socket.say(each)
  expect(seen).toHaveLength(3_000)
})

test('stored messages that follow a gap are delivered once', async () => {
  const made = await connected()
  const seen: unknown[] = []
  const channel = made.client
    .channel('chat/general')
    .on('gap', ({ cursor }) => seen.push(`gap at ${cursor}`))
    .on('message', ({ data }) => {
      seen.push(data)
      if (data === '1:6') return new Promise(() => {})
    })
  channel.subscribe()
  made.socket.subscribed('1:5')
  made.socket.say({ type: 'subscribed', topic: TOPIC, cursor: '1:5', recovered: false })
  for (const cursor of ['1:6', '1:7']) made.socket.say(event(cursor))
  const socket = await reconnect(made)
  socket.subscribed('1:5', true)
  for (const cursor of ['1:6', '1:7', '2:9']) socket.say(event(cursor))
  expect(seen).toEqual(['gap at 1:5', '1:6', '1:7', '2:9'])
})

test('a gap is reported after a reconnection and while live', async () => {
  const made = await live()
  const gaps: RealtimePayload[] = []
  made.client
    .channel('chat/general')
    .on('gap', (payload) => gaps.push(payload))
    .subscribe()
  const socket = await reconnect(made)
  socket.subscribed('f:1', false)
  socket.say({ type: 'subscribed', topic: TOPIC, cursor: 'g:1', recovered: false })
  const gap = { type: 'event', event: 'gap', topic: 'chat/general' }
  expect(gaps).toEqual([
    { ...gap, cursor: 'f:1', data: { reason: 'not_recovered', since: 'e:0' } },
    { ...gap, cursor: 'g:1', data: { reason: 'interrupted', since: 'f:1' } },
  ])
  expect((await reconnect(made)).last('subscribe').since).toBe('g:1')
})

test('an app continues from a cursor of its own', async () => {
  const made = await connected()
  const gaps: unknown[] = []
  made.client.channel('chat/general', { since: 'e:5' }).subscribe()
  expect(made.socket.last('subscribe').since).toBe('e:5')
  made.client
    .channel('chat/general', { since: 'e:2' })
    .on('gap', ({ data }) => gaps.push(data))
    .subscribe()
  expect(gaps).toEqual([{ reason: 'not_recovered', since: 'e:2' }])
})

test('a refused subscribe rejects', async () => {
  const made = await connected()
  const subscribing = made.client.channel('ordres').subscribe()
  const { id = '' } = made.socket.last('subscribe')
  made.socket.say({ type: 'error', code: 'not_found', message: 'No such table.', retryable: false, id })
  await expect(subscribing).rejects.toMatchObject({
    code: 'not_found',
    message: 'No such table.',
    retryable: false,
  })
  expect(made.errors).toEqual([])
})

test('a refused subscribe that nobody awaits goes to onError', async () => {
  const made = await connected()
  made.client.channel('ordres').subscribe()
  const { id = '' } = made.socket.last('subscribe')
  made.socket.say({ type: 'error', code: 'not_found', message: 'No such table.', retryable: false, id })
  await settled()
  expect(made.errors).toEqual(['not_found'])
})

test('a retryable refusal of subscribe is reported and retried', async () => {
  const made = await connected()
  const subscribing = made.client.channel('chat/general').subscribe()
  made.socket.refuse('subscribe', 'unavailable', true)
  expect(made.errors).toEqual(['unavailable'])
  await made.clock.pass(1_000)
  expect(types(made.socket)).toEqual(['subscribe', 'subscribe'])
  made.socket.subscribed('e:1')
  await expect(subscribing).resolves.toMatchObject({ cursor: 'e:1' })
  expect(made.errors).toEqual(['unavailable'])
})

test('a refusal for good after a retryable one rejects', async () => {
  const made = await connected()
  const subscribing = made.client.channel('chat/general').subscribe()
  made.socket.refuse('subscribe', 'overloaded', true)
  await made.clock.pass(1_000)
  made.socket.refuse('subscribe', 'forbidden', false)
  await expect(subscribing).rejects.toMatchObject({ code: 'forbidden' })
})

test('an error that names no command goes to onError', async () => {
  const made = await live()
  made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, topic: TOPIC })
  made.socket.say({ type: 'unsubscribed', topic: TOPIC, reason: 'Dropped.' })
  expect(made.errors).toEqual(['forbidden', 'unavailable'])
})

test('a listener that throws is reported and stops no other listener', async () => {
  const made = await live()
  const heard: unknown[] = []
  made.client
    .channel('chat/general')
    .on('message', () => {
      throw new Error('mine')
    })
    .on('message', async () => {
      throw new Error('mine, later')
    })
    .on('message', ({ data }) => heard.push(data))
    .subscribe()
  made.socket.say(event('e:1'))
  await settled()
  expect(heard).toEqual(['e:1'])
  expect(made.errors).toEqual(['listener', 'listener'])
})

test('an invalid topic throws at once', () => {
  expect(() => bench().client.channel('a b')).toThrow(expect.objectContaining({ code: 'invalid_topic' }))
})
