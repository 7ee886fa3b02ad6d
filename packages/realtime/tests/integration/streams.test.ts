import { afterEach, expect, test } from 'vitest'
import type { Client, RealtimePayload, StreamState } from '../../src/index.js'
import { Cable, clientOf, Heard, Server } from '../support/server.js'

const servers: Server[] = []
const clients: Client[] = []
const cables: Cable[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  for (const cable of cables.splice(0)) await cable.stop()
  for (const server of servers.splice(0)) await server.remove()
})

async function started(): Promise<Server> {
  const server = await new Server().start()
  servers.push(server)
  return server
}

async function through(server: Server): Promise<Cable> {
  const cable = await new Cable(server).start()
  cables.push(cable)
  return cable
}

/** A client that reconnects quickly. */
function client(target: { url: string }, userId: string): Client {
  const made = clientOf(target, { userId, random: () => 0.999 })
  clients.push(made)
  return made
}

const TOPIC = 'chat/streams'

/** Reads the stream `id`. Deltas that do not add up to the text are part of the text. */
async function read(
  made: Client,
  id: string,
): Promise<Heard<{ data: string; state: StreamState | undefined }>> {
  const heard = new Heard<{ data: string; state: StreamState | undefined }>()
  let text = ''
  await made
    .channel(TOPIC, { streams: true })
    .on('answer', (payload: RealtimePayload<string>) => {
      if (payload.id !== id) return
      const { data, delta, state } = payload
      if (delta !== undefined) text += delta
      heard.add({ data: text === data ? data : `${data}, but the deltas add up to ${text}`, state })
    })
    .subscribe()
  return heard
}

const ended = ({ state }: { state: StreamState | undefined }) => state !== 'open'

test('readers get every piece once, others one event, history the text', async () => {
  const server = await started()
  const writer = client(server, 'ada').channel(TOPIC)
  const early = await read(client(server, 'bob'), 'a')
  const ordinary = new Heard<RealtimePayload>()
  await client(server, 'eve').channel(TOPIC).on('*', ordinary.add).subscribe()
  const stream = await writer.stream('answer', { id: 'a', persist: true })
  const words = ['The ', 'quick \uD83D', '\uDE00 brown ', 'fox']
  for (const word of words) stream.append(word)
  await early.until(({ data }) => data.endsWith('fox'))
  const late = await read(client(server, 'joe'), 'a')
  expect(await late.next()).toEqual({ data: words.join(''), state: 'open' })
  stream.append('!')
  await stream.finish()
  const text = `${words.join('')}!`
  expect(await early.until(ended)).toEqual({ data: text, state: 'complete' })
  expect(await late.until(ended)).toEqual({ data: text, state: 'complete' })
  const event = await ordinary.until(({ event }) => event === 'answer')
  expect(event).toMatchObject({ data: text, id: 'a' })
  expect(event).not.toHaveProperty('state')
  expect(await writer.getHistory()).toMatchObject([{ id: 'a', data: text, state: 'complete' }])
})

test('a reader that was cut off in the middle of a word gets the rest', async () => {
  const server = await started()
  const cable = await through(server)
  const stream = await client(server, 'ada').channel(TOPIC).stream('answer', { id: 'cut' })
  const heard = await read(client(cable, 'bob'), 'cut')
  await stream.append('mid-w')
  await heard.until(({ data }) => data === 'mid-w')
  cable.cut()
  await stream.append('ord')
  await stream.append(' and more')
  await stream.finish()
  expect(await heard.until(ended)).toEqual({ data: 'mid-word and more', state: 'complete' })
})

test('a writer that is cut off again and again sends every piece once', async () => {
  const server = await started()
  const cable = await through(server)
  const heard = await read(client(server, 'bob'), 'w')
  const stream = await client(cable, 'ada').channel(TOPIC).stream('answer', { id: 'w' })
  let text = ''
  for (let n = 0; n < 200; n++) {
    text += `${n} `
    const done = stream.append(`${n} `)
    if (n % 50 === 25) cable.loseAnswer()
    if (n % 50 === 40) {
      cable.cut()
      await done
    }
  }
  await stream.finish()
  expect(await heard.until(ended)).toEqual({ data: text, state: 'complete' })
})

test.each([true, false])('a killed server continues the stream (persist: %s)', async (persist) => {
  const server = await started()
  const heard = new Heard<RealtimePayload>()
  const add = (payload: RealtimePayload) => heard.add(payload)
  await client(server, 'bob').channel(TOPIC, { streams: true }).on('answer', add).subscribe()
  const stream = await client(server, 'ada').channel(TOPIC).stream('answer', { id: 'k', persist })
  await stream.append('before ')
  await heard.until(({ data }) => data === 'before ')
  const during = stream.append('during ')
  await server.kill()
  await server.start()
  await during
  await stream.append('after')
  await stream.finish()
  const { data } = await heard.until(({ state }) => state === 'complete')
  expect(data).toBe('before during after')
  if (persist)
    expect(await client(server, 'joe').channel(TOPIC).getHistory()).toMatchObject([
      { id: 'k', data: 'before during after', state: 'complete' },
    ])
})

test('any reader stops a stream, and the writer learns it at once', async () => {
  const server = await started()
  const heard = await read(client(server, 'bob'), 'c')
  const stream = await client(server, 'ada').channel(TOPIC).stream('answer', { id: 'c' })
  await stream.append('a')
  const aborted = new Promise((resolve) => stream.signal.addEventListener('abort', resolve))
  const bob = client(server, 'bob').channel(TOPIC)
  expect(await bob.cancel('c', 'Enough.')).toMatchObject({ state: 'cancelled' })
  await aborted
  expect(stream.signal.reason).toMatchObject({ code: 'cancelled', message: 'Enough.' })
  expect(await heard.until(ended)).toEqual({ data: 'a', state: 'cancelled' })
  expect(await bob.cancel('c')).toMatchObject({ state: 'cancelled' })
})

test('another user may not append; a new writer of the same user may', async () => {
  const server = await started()
  const stream = await client(server, 'ada').channel(TOPIC).stream('answer', { id: 'o' })
  await stream.append('a')
  const foreign = client(server, 'eve').channel(TOPIC).stream('answer', { id: 'o' })
  await expect(foreign).rejects.toMatchObject({ code: 'forbidden' })
  const again = await client(server, 'ada').channel(TOPIC).stream('answer', { id: 'o' })
  expect(again.n).toBe(1)
  await again.append('b')
  await again.finish()
  const more = stream.append('c')
  await expect(more).rejects.toMatchObject({ code: 'conflict' })
})

test('a subscription begins with history, without a seam', async () => {
  const server = await started()
  const writer = client(server, 'ada').channel(TOPIC)
  for (let n = 0; n < 5; n++) await writer.publish('message', n, { persist: true })
  const heard: unknown[] = []
  const done = new Heard<unknown>()
  await client(server, 'bob')
    .channel(TOPIC, { history: 3 })
    .on('message', ({ data }) => {
      heard.push(data)
      if (data === 'last') done.add(data)
    })
    .subscribe()
  await writer.publish('message', 'last', { persist: true })
  await done.next()
  expect(heard).toEqual([2, 3, 4, 'last'])
})
