/** What subscribers receive of streams, against recorded frames (docs/protocol.md §9). */

import { expect, test } from 'vitest'
import type { ChannelOptions, RealtimePayload } from '../../src/index.js'
import type { AppendFrame, StreamState } from '../../src/protocol.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected } from '../support/network.js'

const topic = 'chat/1/default'
type Heard = (string | undefined)[][]

async function reader(made: Bench, options: ChannelOptions = { streams: true }): Promise<Heard> {
  const heard: Heard = []
  const add = ({ data, delta, state }: RealtimePayload) => heard.push([data, delta, state])
  const channel = made.client.channel('chat/1', options).on('answer', add)
  const before = made.socket.sent.length
  channel.subscribe()
  await eventually(() => expect(made.socket.sent.length).toBeGreaterThan(before))
  made.socket.subscribed()
  return heard
}

function event(made: Bench, data: unknown, n: number, state: StreamState = 'open', cursor = 'e:1'): void {
  made.socket.say({
    type: 'event',
    topic,
    event: 'answer',
    data,
    id: 's',
    cursor,
    timestamp: 1,
    stream: { n, state },
  })
}

function append(made: Bench, frame: Partial<AppendFrame> & { n: number; to: number }): void {
  made.socket.say({ type: 'append', topic, id: 's', cursor: `e:${frame.to + 1}`, ...frame })
}

test('a reader gets what there is so far, what is new, and the state', async () => {
  const made = await connected()
  const heard = await reader(made)
  expect(made.socket.last('subscribe').streams).toBe(true)
  event(made, 'He', 2)
  append(made, { n: 2, to: 4, data: 'llo' })
  append(made, { n: 4, to: 4, state: 'complete' })
  expect(heard).toEqual([
    ['He', 'He', 'open'],
    ['Hello', 'llo', 'open'],
    ['Hello', undefined, 'complete'],
  ])
})

test('a list grows by items', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, [1], 1)
  append(made, { n: 1, to: 3, data: [2, 3], state: 'complete' })
  expect(heard).toEqual([
    [[1], [1], 'open'],
    [[1, 2, 3], [2, 3], 'complete'],
  ])
})

test('repeated pieces, and pieces of unknown streams, are ignored', async () => {
  const made = await connected()
  const heard = await reader(made)
  append(made, { n: 0, to: 1, data: 'x' })
  event(made, 'ab', 2)
  append(made, { n: 0, to: 1, data: 'a' })
  append(made, { n: 0, to: 2, data: 'ab' })
  append(made, { n: 2, to: 3, data: 'c', state: 'complete' })
  append(made, { n: 2, to: 3, data: 'c', state: 'complete' })
  event(made, 'abc', 3, 'complete')
  expect(heard.map(([data]) => data)).toEqual(['ab', 'abc'])
})

test('an event of a known stream replaces it, without a delta', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, 'abc', 3)
  event(made, 'ab', 2)
  append(made, { n: 2, to: 3, data: 'X' })
  expect(heard).toEqual([
    ['abc', 'abc', 'open'],
    ['ab', undefined, 'open'],
    ['abX', 'X', 'open'],
  ])
})

test('after a reconnection the reader names the streams it has', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, '😀 mid-w', 4)
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'e:1', streams: { s: 4 } })
  made.socket.subscribed('e:1', true)
  append(made, { n: 4, to: 9, data: 'ord', state: 'complete' })
  expect(heard.at(-1)).toEqual(['😀 mid-word', 'ord', 'complete'])
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  expect(made.socket.last('subscribe').streams).toEqual({})
})

test('a stream that the server lost ends as failed with what there was', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, 'abc', 3)
  append(made, { n: 3, to: 3, state: 'failed' })
  expect(heard.at(-1)).toEqual(['abc', undefined, 'failed'])
})

test('a stream that failed with its server is open again with its writer', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, 'ab', 2)
  append(made, { n: 2, to: 2, state: 'failed' })
  event(made, '', 0)
  append(made, { n: 0, to: 3, data: 'abc', state: 'complete' })
  event(made, 'abc', 3, 'complete')
  expect(heard).toEqual([
    ['ab', 'ab', 'open'],
    ['ab', undefined, 'failed'],
    ['abc', undefined, 'complete'],
  ])
})

test.each(['complete', 'cancelled', 'failed'] as const)(
  'a stream that ended as %s is a repeat where it is open',
  async (state) => {
    const made = await connected()
    const heard = await reader(made)
    event(made, 'ab', 2)
    append(made, { n: 2, to: 3, data: 'c', state })
    event(made, 'ab', 2)
    append(made, { n: 2, to: 3, data: 'c' })
    append(made, { n: 3, to: 3, state })
    event(made, 'abc', 3)
    event(made, 'abc', 3, state)
    expect(heard).toEqual([
      ['ab', 'ab', 'open'],
      ['abc', 'c', state],
    ])
  },
)

test('a stream that failed continues after what listeners have had', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, 'ab', 2)
  append(made, { n: 2, to: 2, state: 'failed' })
  event(made, 'ab', 2)
  append(made, { n: 2, to: 3, data: 'c' })
  append(made, { n: 3, to: 3, state: 'complete' })
  expect(heard.slice(2)).toEqual([
    ['abc', 'c', 'open'],
    ['abc', undefined, 'complete'],
  ])
})

test('an id that is used again names a new stream', async () => {
  const made = await connected()
  const heard = await reader(made)
  event(made, 'a', 1, 'complete')
  made.socket.say({
    type: 'event',
    topic,
    event: 'answer',
    data: '',
    id: 's',
    cursor: 'e:9',
    timestamp: 2,
    stream: { n: 0, state: 'open' },
  })
  expect(heard.at(-1)).toEqual(['', undefined, 'open'])
})

test('channels without streams get one event, when it ends', async () => {
  const made = await connected()
  const all = await reader(made)
  const heard: RealtimePayload[] = []
  made.client
    .channel('chat/1')
    .on('answer', (payload) => heard.push(payload))
    .subscribe()
  event(made, 'a', 1)
  append(made, { n: 1, to: 2, data: 'b' })
  append(made, { n: 2, to: 3, data: 'c', state: 'complete' })
  expect(all).toHaveLength(3)
  expect(heard).toEqual([
    { type: 'event', topic: 'chat/1', event: 'answer', data: 'abc', id: 's', cursor: 'e:4', timestamp: 1 },
  ])
})

test('a channel that joins late gets the open streams so far', async () => {
  const made = await connected()
  await reader(made)
  event(made, 'ab', 2)
  const late: unknown[] = []
  await made.client
    .channel('chat/1', { streams: true })
    .on('answer', ({ data, delta }) => late.push([data, delta]))
    .subscribe()
  append(made, { n: 2, to: 3, data: 'c' })
  expect(late).toEqual([
    ['ab', 'ab'],
    ['abc', 'c'],
  ])
})

test('the first channel with streams asks for them where others are live', async () => {
  const made = await connected()
  made.client.channel('chat/1').subscribe()
  made.socket.subscribed('e:0')
  await reader(made)
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'e:0', streams: true })
})

test('the cursor advances with the pieces', async () => {
  const made = await connected()
  const channel = made.client.channel('chat/1', { streams: true })
  channel.subscribe()
  await eventually(() => made.socket.last('subscribe'))
  made.socket.subscribed()
  event(made, 'a', 1)
  append(made, { n: 1, to: 2, data: 'b' })
  expect(channel.cursor).toBe('e:3')
})

test('a channel begins with history, once', async () => {
  const made = await connected()
  const heard: unknown[] = []
  made.client
    .channel('chat/1', { history: 2 })
    .on('*', ({ data }) => heard.push(data))
    .subscribe()
  expect(made.socket.last('subscribe').history).toBe(2)
  made.socket.subscribed()
  for (const n of [1, 2])
    made.socket.say({ type: 'event', topic, event: 'message', data: n, id: `${n}`, cursor: `e:${n}` })
  expect(heard).toEqual([1, 2])
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'e:2' })
  expect(made.socket.last('subscribe')).not.toHaveProperty('history')
})

test('history beside channels that want none is reported as a gap', async () => {
  const made = await connected()
  const heard: unknown[] = []
  const add = ({ event, data }: RealtimePayload) => heard.push([event, data.reason])
  made.client.channel('chat/1', { history: 'all' }).on('*', add).subscribe()
  made.client.channel('chat/1').subscribe()
  expect(made.socket.last('subscribe')).not.toHaveProperty('history')
  made.socket.subscribed()
  expect(heard).toEqual([['gap', 'not_recovered']])
  made.client.channel('chat/1', { history: 5 }).on('*', add).subscribe()
  expect(heard).toHaveLength(2)
})
