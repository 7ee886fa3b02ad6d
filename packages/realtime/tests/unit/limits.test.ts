import { describe, expect, test } from 'vitest'
import { checkLimits } from '../../src/limits.js'
import type { ServerFrame } from '../../src/protocol.js'
import { type Bench, bench, connected, settled } from '../support/network.js'

const TOO_LARGE = 'x'.repeat(70_000)

function nested(levels: number): unknown {
  let data: unknown = 0
  for (let level = 0; level < levels; level++) data = [data]
  return data
}

function types(made: Bench): string[] {
  return made.socket.sent.map(({ type }) => type)
}

async function reconnect(made: Bench, code?: number): Promise<void> {
  made.socket.drop(code)
  await made.clock.pass(1_000)
  made.socket.accept()
}

const unnamed = (code: string): ServerFrame => ({ type: 'error', code, message: 'No.', retryable: false })

describe('the size and nesting of a frame', () => {
  const check =
    (text: string, frameBytes = 100, nesting = 3) =>
    () =>
      checkLimits(text, { frameBytes, nesting })

  test('bytes are counted in UTF-8', () => {
    expect(check('"é"', 4)).not.toThrow()
    expect(check('"é"', 3)).toThrow(expect.objectContaining({ code: 'too_large' }))
    expect(check('"é"', 3)).toThrow('4 bytes; the server accepts 3')
  })

  test('levels of objects and lists are counted together', () => {
    expect(check('{"a":[{}]}')).not.toThrow()
    expect(check('{"a":[{"b":[]}]}')).toThrow(expect.objectContaining({ code: 'bad_message' }))
    expect(check('[[],[],[],[],[]]')).not.toThrow()
  })

  test('brackets in strings are not levels', () => {
    expect(check('{"a":"[[[[[","b\\"[[[[":"\\\\"}')).not.toThrow()
  })

  test('without limits every frame is accepted', () => {
    expect(() => checkLimits(TOO_LARGE, undefined)).not.toThrow()
  })
})

describe('a message above the limits of the server', () => {
  test('a publish that is too large rejects at once and is not sent', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    await expect(room.publish('message', TOO_LARGE)).rejects.toMatchObject({
      code: 'too_large',
      retryable: false,
    })
    await reconnect(made)
    expect(types(made)).toEqual([])
    expect(made.errors).toEqual([])
  })

  test('a publish that is nested too deeply rejects at once', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    await expect(room.publish('message', nested(128))).rejects.toMatchObject({ code: 'bad_message' })
    room.publish('message', nested(127))
    expect(types(made)).toEqual(['publish'])
  })

  test('a track that is too large rejects and leaves no presence', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    await expect(room.track({ picture: TOO_LARGE })).rejects.toMatchObject({ code: 'too_large' })
    await reconnect(made)
    expect(types(made)).toEqual([])
  })

  test('a subscribe that is too large rejects', async () => {
    const made = await connected()
    const subscribing = made.client.channel('orders', { filter: { note: { in: [TOO_LARGE] } } }).subscribe()
    await expect(subscribing).rejects.toMatchObject({ code: 'too_large' })
    expect(types(made)).toEqual([])
  })

  test('a large publish made before the connection rejects on it', async () => {
    const made = bench()
    const room = made.client.channel('chat/1')
    const large = room.publish('message', TOO_LARGE)
    room.publish('message', 'small')
    await settled()
    made.socket.accept()
    await expect(large).rejects.toMatchObject({ code: 'too_large' })
    expect(made.socket.sent).toMatchObject([{ data: 'small' }])
  })

  test('the server announces its own limits', async () => {
    const made = bench()
    made.client.connect()
    await settled()
    made.socket.accept(25, { frameBytes: 100_000, nesting: 3 })
    const room = made.client.channel('chat/1')
    room.publish('message', TOO_LARGE)
    expect(types(made)).toEqual(['publish'])
    await expect(room.publish('message', nested(3))).rejects.toMatchObject({ code: 'bad_message' })
  })
})

describe('a message that the server could not read', () => {
  test('close code 1009 rejects the frame that was too large, only that', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    const small = room.publish('message', 'small')
    const large = room.publish('message', 'x'.repeat(10_000))
    const last = room.publish('message', 'last')
    const refused = expect(large).rejects.toMatchObject({ code: 'too_large' })
    await reconnect(made, 1009)
    await refused
    expect(made.socket.sent).toMatchObject([{ data: 'small' }, { data: 'last' }])
    for (const { id = '' } of made.socket.sent as { id?: string }[]) made.socket.say({ type: 'ack', id })
    await Promise.all([small, last])
    expect(made.errors).toEqual([])
  })

  test('close code 1009 rejects the oldest of equally large frames', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    const [first] = [room.publish('message', 1), room.publish('message', 2)]
    await reconnect(made, 1009)
    await expect(first).rejects.toMatchObject({ code: 'too_large' })
    expect(made.socket.sent).toMatchObject([{ data: 2 }])
  })

  test('a refusal without id or topic rejects the oldest command', async () => {
    const made = await connected()
    const room = made.client.channel('chat/1')
    const [first, second] = [room.publish('message', 1), room.publish('message', 2)]
    made.socket.say(unnamed('bad_message'))
    await expect(first).rejects.toMatchObject({ code: 'bad_message' })
    made.socket.say({ type: 'ack', id: made.socket.last('publish').id })
    await second
    expect(made.errors).toEqual([])
  })

  test('a refusal without id rejects a subscribe when nothing else waits', async () => {
    const made = await connected()
    const subscribing = made.client.channel('chat/1').subscribe()
    made.socket.say(unnamed('bad_message'))
    await expect(subscribing).rejects.toMatchObject({ code: 'bad_message' })
  })

  test('other errors without id go to onError', async () => {
    const made = await connected()
    const acked = made.client.channel('chat/1').publish('message', 1)
    made.socket.say(unnamed('unauthorized'))
    made.socket.say({ type: 'ack', id: made.socket.last('publish').id })
    await acked
    made.socket.say(unnamed('bad_message'))
    expect(made.errors).toEqual(['unauthorized', 'bad_message'])
  })
})
