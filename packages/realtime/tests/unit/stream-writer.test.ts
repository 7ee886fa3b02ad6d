/** The writing end of a stream, against a server that is the test (docs/protocol.md §9). */

import { expect, test } from 'vitest'
import type { Stream, StreamData, StreamOptions } from '../../src/index.js'
import type { StreamEnd } from '../../src/protocol.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected, settled } from '../support/network.js'

const TOPIC = 'chat/1/default'

async function opened<T extends StreamData = string>(
  options: StreamOptions<T> = {},
): Promise<{ made: Bench; stream: Stream<T> }> {
  const made = await connected()
  const opening = made.client.channel('chat/1').stream<T>('answer', { id: 's', ...options })
  await eventually(() => made.socket.last('publish'))
  accept(made, 0)
  return { made, stream: await opening }
}

/** Answer the last opening. */
function accept(made: Bench, n: number, state: 'open' | StreamEnd = 'open'): void {
  made.socket.say({ type: 'ack', id: made.socket.last('publish').id, cursor: 'e:1', n, state })
}

/** Answer the append of this number that was sent last. */
function ack(made: Bench, n: number, answer: object = {}): void {
  const { ref = '' } = sent(made).findLast((frame) => frame.n === n) ?? {}
  made.socket.say({ type: 'ack', id: 's', ref, n: n + 1, state: 'open', ...answer })
}

function refuse(made: Bench, n: number, code: string, more: object = {}): void {
  const { ref = '' } = sent(made).findLast((frame) => frame.n === n) ?? {}
  made.socket.say({
    type: 'error',
    code,
    message: code,
    retryable: false,
    topic: TOPIC,
    id: 's',
    ref,
    ...more,
  })
}

function sent(made: Bench) {
  return made.socket.sent.flatMap((frame) => (frame.type === 'append' ? [frame] : []))
}

function pieces(made: Bench): unknown[] {
  return sent(made).map(({ n, data, state }) => [n, data ?? state])
}

async function reconnect(made: Bench): Promise<void> {
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
}

test('a stream is opened by a publish, and its pieces are numbered', async () => {
  const { made, stream } = await opened({ persist: true })
  expect(made.socket.last('publish')).toEqual({
    type: 'publish',
    topic: TOPIC,
    event: 'answer',
    data: '',
    persist: true,
    id: 's',
    stream: true,
  })
  const pending = [stream.append('Hel'), stream.append('lo'), stream.finish()]
  expect(pieces(made)).toEqual([
    [0, 'Hel'],
    [1, 'lo'],
    [2, 'complete'],
  ])
  ack(made, 0)
  ack(made, 1)
  ack(made, 2, { n: 2, state: 'complete' })
  await Promise.all(pending)
  expect(stream.n).toBe(2)
  await expect(stream.append('more')).rejects.toMatchObject({ code: 'conflict' })
})

test('a refused opening rejects, and the id may be used again', async () => {
  const made = await connected()
  for (const _ of [1, 2]) {
    const opening = made.client.channel('chat/1').stream('answer', { id: 's' })
    await eventually(() => expect(made.socket.sent.length).toBe(1))
    made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, id: 's' })
    await expect(opening).rejects.toMatchObject({ code: 'forbidden' })
    made.socket.sent.length = 0
  }
})

test('one client writes a stream once at a time', async () => {
  const { made } = await opened()
  await expect(made.client.channel('chat/1').stream('answer', { id: 's' })).rejects.toMatchObject({
    code: 'conflict',
  })
})

test('a writer that was started again continues where the server is', async () => {
  const made = await connected()
  const opening = made.client.channel('chat/1').stream('answer', { id: 's' })
  await eventually(() => made.socket.last('publish'))
  accept(made, 7)
  const stream = await opening
  expect(stream.n).toBe(7)
  stream.append('next')
  expect(pieces(made)).toEqual([[7, 'next']])
})

test('after a reconnection only unanswered pieces are sent again', async () => {
  const { made, stream } = await opened()
  const [first, second] = [stream.append('a'), stream.append('b')]
  ack(made, 0)
  await first
  await reconnect(made)
  expect(pieces(made)).toEqual([[1, 'b']])
  ack(made, 1)
  await second
  stream.append('c')
  accept(made, 2)
  await settled()
  expect(pieces(made)).toEqual([
    [1, 'b'],
    [2, 'c'],
  ])
})

test('a server that lost pieces in a crash gets them again', async () => {
  const { made, stream } = await opened()
  const done = [stream.append('a'), stream.append('b')]
  ack(made, 0)
  ack(made, 1)
  await Promise.all(done)
  await reconnect(made)
  accept(made, 1)
  await settled()
  expect(pieces(made)).toEqual([[1, 'b']])
  stream.append('c')
  expect(pieces(made)).toEqual([
    [1, 'b'],
    [2, 'c'],
  ])
})

test('a server that lost the stream gets all of it again', async () => {
  const { made, stream } = await opened({ data: '> ' })
  const first = stream.append('a')
  ack(made, 0)
  await first
  const second = stream.append('b')
  refuse(made, 1, 'not_found')
  await settled()
  expect(made.socket.sent.filter(({ type }) => type === 'publish')).toHaveLength(2)
  expect(made.socket.last('publish').data).toBe('> ')
  accept(made, 0)
  await settled()
  expect(pieces(made).slice(-2)).toEqual([
    [0, 'a'],
    [1, 'b'],
  ])
  ack(made, 0)
  ack(made, 1)
  await second
})

test('out_of_step continues with the number that the server names', async () => {
  const { made, stream } = await opened()
  const done = ['a', 'b', 'c'].map((piece) => stream.append(piece))
  for (const n of [1, 2]) refuse(made, n, 'out_of_step', { n: 0 })
  await settled()
  expect(pieces(made).slice(3)).toEqual([
    [0, 'a'],
    [1, 'b'],
    [2, 'c'],
  ])
  for (const n of [0, 1, 2]) ack(made, n)
  await Promise.all(done)
})

test('a piece that the server refuses is left out, and the stream continues', async () => {
  const { made, stream } = await opened()
  const done = ['a', 'large', 'c'].map((piece) => stream.append(piece))
  ack(made, 0)
  refuse(made, 1, 'too_large')
  await expect(done[1]).rejects.toMatchObject({ code: 'too_large' })
  refuse(made, 2, 'out_of_step', { n: 1 })
  await settled()
  expect(pieces(made).slice(3)).toEqual([[1, 'c']])
  ack(made, 1)
  await done[2]
  stream.finish()
  expect(pieces(made).at(-1)).toEqual([2, 'complete'])
})

test('a retryable refusal is tried again after a pause', async () => {
  const { made, stream } = await opened()
  const done = stream.append('a')
  refuse(made, 0, 'rate_limited', { retryable: true })
  await settled()
  expect(pieces(made)).toHaveLength(1)
  await made.clock.pass(1_000)
  accept(made, 0)
  await settled()
  expect(pieces(made)).toHaveLength(2)
  ack(made, 0)
  await done
})

test('a cancellation aborts the signal with its reason', async () => {
  const { made, stream } = await opened()
  const pending = stream.append('a')
  made.socket.say({ type: 'cancel', topic: TOPIC, id: 'other' })
  expect(stream.signal.aborted).toBe(false)
  made.socket.say({ type: 'cancel', topic: TOPIC, id: 's', userId: 'bob', reason: 'Enough.' })
  expect(stream.signal.reason).toMatchObject({ code: 'cancelled', message: 'Enough.' })
  await expect(pending).rejects.toMatchObject({ code: 'cancelled' })
  await expect(stream.append('b')).rejects.toMatchObject({ code: 'cancelled' })
  expect(pieces(made)).toEqual([[0, 'a']])
  expect(made.errors).toEqual([])
})

test.each([
  ['cancelled', 'cancelled'],
  ['failed', 'conflict'],
] as const)('a stream that ended as %s while the writer was away is %s', async (state, code) => {
  const { made, stream } = await opened()
  await reconnect(made)
  accept(made, 0, state)
  await settled()
  expect(stream.signal.reason).toMatchObject({ code })
})

test('an end whose acknowledgement was lost is acknowledged once', async () => {
  const { made, stream } = await opened()
  const finishing = stream.finish()
  await reconnect(made)
  accept(made, 0, 'complete')
  await finishing
  expect(stream.signal.aborted).toBe(false)
  expect(made.errors).toEqual([])
})

test('a surrogate pair is never split between pieces', async () => {
  const { made, stream } = await opened()
  for (const half of ['a\uD83D', '\uDE00b', '\uD83D']) stream.append(half)
  stream.finish()
  expect(pieces(made)).toEqual([
    [0, 'a'],
    [1, '😀b'],
    [2, '\uFFFD'],
    [3, 'complete'],
  ])
})

test('a long text is sent as pieces that fit into frames', async () => {
  const { made, stream } = await opened()
  const text = `${'x'.repeat(9_999)}😀${'\u0001'.repeat(12_000)}`
  stream.append(text)
  const sizes = sent(made).map((frame) => JSON.stringify(frame).length)
  expect(Math.max(...sizes)).toBeLessThan(64 * 1024)
  expect(
    sent(made)
      .map(({ data }) => data)
      .join(''),
  ).toBe(text)
  expect(sent(made).every(({ data }) => !/\p{Cs}/u.test(data as string))).toBe(true)
})

test('a list is appended to by items', async () => {
  const { made, stream } = await opened<unknown[]>({ data: [] })
  stream.append([{ type: 'start' }])
  expect(made.socket.last('publish').data).toEqual([])
  expect(pieces(made)).toEqual([[0, [{ type: 'start' }]]])
})

test('writable appends, and closing it finishes the stream', async () => {
  const { made, stream } = await opened()
  const writer = stream.writable.getWriter()
  await writer.write('a')
  await writer.write('b')
  const closing = writer.close()
  await settled()
  for (const n of [0, 1]) ack(made, n)
  ack(made, 2, { n: 2, state: 'complete' })
  await closing
  expect(pieces(made)).toEqual([
    [0, 'a'],
    [1, 'b'],
    [2, 'complete'],
  ])
})

test('a cancellation makes writable fail, and its source is cancelled', async () => {
  const { made, stream } = await opened()
  let reason: unknown
  const source = new ReadableStream<string>({
    cancel: (why) => {
      reason = why
    },
  })
  const piping = source.pipeTo(stream.writable)
  made.socket.say({ type: 'cancel', topic: TOPIC, id: 's' })
  await expect(piping).rejects.toMatchObject({ code: 'cancelled' })
  expect(reason).toMatchObject({ code: 'cancelled' })
})

test('cancel stops a stream by its id, with a reason', async () => {
  const made = await connected()
  const cancelling = made.client.channel('chat/1').cancel('s', 'Enough.')
  const { ref = '', ...frame } = made.socket.last('cancel')
  expect(frame).toEqual({ type: 'cancel', topic: TOPIC, id: 's', reason: 'Enough.' })
  made.socket.say({ type: 'ack', id: 's', ref, n: 3, state: 'cancelled' })
  expect(await cancelling).toEqual({ id: 's', n: 3, state: 'cancelled' })
})
