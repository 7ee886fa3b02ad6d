import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { AerostackError } from '../../src/index.js'
import { type ClientFrame, decode, encode, type ServerFrame } from '../../src/protocol.js'
import { canonical } from '../../src/topic.js'

function spec<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../../spec/${name}.json`, import.meta.url), 'utf8'))
}

interface Topic {
  name: string
  written: string
  project: string
  canonical?: string
}

describe('topics', () => {
  test.each(spec<Topic>('topics'))('$name', ({ written, project, canonical: expected }) => {
    if (expected) expect(canonical(written, project)).toBe(expected)
    else expect(() => canonical(written, project)).toThrow(AerostackError)
  })

  test.each(spec<Topic>('topics').filter(({ canonical }) => canonical && canonical.length < 200))(
    'the canonical form of $written is its own',
    ({ project, canonical: expected = '' }) => {
      expect(canonical(expected, project)).toBe(expected)
    },
  )
})

/** Fails to compile when a type of frame is missing. */
const KNOWN: Record<ServerFrame['type'], true> = {
  connected: true,
  subscribed: true,
  unsubscribed: true,
  event: true,
  append: true,
  cancel: true,
  chat_message: true,
  db_change: true,
  snapshot: true,
  presence: true,
  ack: true,
  error: true,
  authenticated: true,
  pong: true,
  advice: true,
}

describe('frames', () => {
  test('the client knows every type that the server sends', () => {
    const sent = spec<{ frame: ServerFrame }>('server-frames').map(({ frame }) => frame.type)
    expect(sent.filter((type) => !KNOWN[type])).toEqual([])
  })

  test.each(spec<{ name: string; frame: object }>('server-frames'))('read: $name', ({ frame }) => {
    expect(decode(JSON.stringify(frame))).toEqual(frame)
  })

  test.each(spec<{ name: string; frame: ClientFrame }>('client-frames'))('written: $name', ({ frame }) => {
    expect(JSON.parse(encode(frame))).toEqual(frame)
  })

  test.each(['', 'null', '[]', '{"type":7}', '{"type"', '"event"'])('%j is refused', (text) => {
    expect(() => decode(text)).toThrow(AerostackError)
  })

  test('data without a JSON form cannot be sent', () => {
    const data: unknown[] = []
    data.push(data)
    const frame: ClientFrame = { type: 'publish', topic: 'a/b', event: 'e', data, id: '1' }
    expect(() => encode(frame)).toThrow(expect.objectContaining({ code: 'bad_message' }))
  })
})
