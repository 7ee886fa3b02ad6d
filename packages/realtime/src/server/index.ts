/** The SDK for backends: HTTP calls with a secret key, for Node, Deno, Bun and workers. Needs nothing but `fetch`. */
import { origins, shuffled } from '../address.js'
import { SYSTEM_CLOCK } from '../client-options.js'
import type { Clock } from '../connection.js'
import { AerostackError, wrap } from '../errors.js'
import { call } from '../http.js'
import type { HistoryMessage } from '../message-history.js'
import type { Ack } from '../outbox.js'
import type { Member } from '../protocol.js'
import { canonical } from '../topic.js'

export { AerostackError, type ErrorCode } from '../errors.js'
export type { Ack, Clock, HistoryMessage, Member }

/** Options of `createServer`. */
export interface ServerOptions {
  /** The server's address, or several addresses of one cluster. */
  url: string | readonly string[]
  /** A secret key of the server. It must never reach a browser. */
  secretKey: string
  /** Default: the project of the server. */
  projectId?: string
  /** How often a safe call is repeated when the server does not answer. Default 3. */
  retries?: number
  /** Milliseconds to wait for an answer. Default 30,000. */
  timeout?: number
  /** Replaces the platform's `fetch`. */
  fetch?: typeof globalThis.fetch
  /** Replaces the platform's timers, in tests. */
  clock?: Clock
  /** A random number in [0, 1) for pauses and the choice of an address. Replaceable in tests. */
  random?: () => number
}

/** Options of `sdk.socket.emit`. */
export interface EmitOptions {
  /** Keep the message for history. */
  persist?: boolean
  /** Names the event: the server delivers one of each id, so a job that runs twice sends one event. Default: random. */
  id?: string
  /** W3C Trace Context: subscribers receive it with the event. */
  traceparent?: string
}

/** A value that SQL parameters may have. */
export type SqlValue = string | number | boolean | null | object

/** The result of one SQL statement. */
// biome-ignore lint/suspicious/noExplicitAny: rows are what the statement selects
export interface QueryResult<R = any> {
  results: R[]
  /** Rows returned, or rows changed. */
  count: number
  success: true
}

/** The result of a query, and the position of the change log after it. */
// biome-ignore lint/suspicious/noExplicitAny: rows are what the statement selects
export interface CommittedResult<R = any> extends QueryResult<R> {
  cursor?: string
}

/** The result of a batch: one result for each statement. All of them are one transaction. */
export interface BatchResult {
  results: QueryResult[]
  success: true
  cursor?: string
}

/** One statement of a batch. */
export interface Query {
  sql: string
  params?: readonly SqlValue[]
}

/** The credentials to revoke: all tokens of a user until now, or the token with this `jti`. */
export type Revocation = { userId: string } | { tokenId: string }

/** The SDK of one server. All calls reject with AerostackError. */
export interface Server {
  readonly socket: {
    /**
     * Send an event to all subscribers of a room such as `chat/general`. Resolves when the server has accepted it or,
     * with `persist`, stored it. Repeated when the server does not answer; the event arrives once.
     */
    emit(event: string, data: unknown, room: string, options?: EmitOptions): Promise<Ack>
  }
  readonly db: {
    /** Run one SQL statement with `?` parameters. Never repeated: it may be a write. */
    // biome-ignore lint/suspicious/noExplicitAny: rows are what the statement selects
    query<R = any>(sql: string, params?: readonly SqlValue[]): Promise<CommittedResult<R>>
    /** Run up to 25 statements in one transaction. Never repeated. */
    batch(queries: readonly Query[]): Promise<BatchResult>
  }
  /** The users who are present on a topic. */
  // biome-ignore lint/suspicious/noExplicitAny: a member's state is whatever the app tracks
  presence<S = any>(topic: string): Promise<Member<S>[]>
  /** Persisted messages of a topic, newest first. `before` is the `created_at` of the oldest message you have. */
  // biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
  history<T = any>(topic: string, limit?: number, before?: number): Promise<HistoryMessage<T>[]>
  /** Close all connections of a user. Returns how many there were. */
  disconnect(userId: string): Promise<number>
  /** Refuse tokens from now on, and close the connections that use them. Returns how many there were. */
  revoke(what: Revocation): Promise<number>
}

const FIRST_PAUSE = 250

/** The SDK of a server. Throws AerostackError `invalid_url`, or `unauthorized` without a secret key. */
export function createServer(options: ServerOptions): Server {
  const { secretKey, projectId = '', retries = 3, timeout = 30_000, random = Math.random } = options
  const { fetch = globalThis.fetch, clock = SYSTEM_CLOCK } = options
  if (!secretKey)
    throw new AerostackError('unauthorized', 'createServer needs `secretKey`, a secret key of the server.')
  const addresses = shuffled(origins(options.url), random)
  const headers = {
    Authorization: `Bearer ${secretKey}`,
    'Content-Type': 'application/json',
    ...(projectId && { 'X-Project-Id': projectId }), // a server of another project refuses it
  }

  /** One attempt on one server. */
  function send<T>(attempt: number, path: string, body: string | undefined): Promise<T> {
    const signal = AbortSignal.timeout(timeout)
    const init = body === undefined ? { headers, signal } : { method: 'POST', headers, body, signal }
    return call<T>(fetch, `${addresses[attempt % addresses.length]}${path}`, init)
  }

  async function once<T>(path: string, body: unknown): Promise<T> {
    return send<T>(0, path, encode(body))
  }

  /** For calls that have the same effect when they arrive twice. */
  async function repeatedly<T>(path: string, body?: unknown): Promise<T> {
    const text = encode(body)
    for (let attempt = 0; ; attempt++)
      try {
        return await send<T>(attempt, path, text)
      } catch (error) {
        if (attempt >= retries || !(error as AerostackError).retryable) throw error
        const pause = FIRST_PAUSE * 2 ** attempt * (1 - random() / 2)
        await new Promise<void>((resolve) => clock.setTimeout(resolve, pause))
      }
  }

  return {
    socket: {
      async emit(event, data, room, { persist, id = crypto.randomUUID(), traceparent } = {}) {
        if (!room)
          throw new AerostackError('invalid_topic', 'emit needs a room: sdk.socket.emit(event, data, room).')
        const topic = canonical(room, projectId)
        const message = { topic, event, data, persist, id, traceparent }
        const ack = await repeatedly<Ack>('/api/v1/realtime/publish', message)
        return { ...ack, id }
      },
    },
    db: {
      async query(sql, params = []) {
        const result = await once<CommittedResult>('/v1/db/query', { sql, params })
        return { ...result, success: true }
      },
      batch: (queries) => once('/v1/db/batch', { queries }),
    },
    async presence(topic) {
      const query = new URLSearchParams({ topic: canonical(topic, projectId) })
      const { members } = await repeatedly<{ members: Member[] }>(`/api/v1/realtime/presence?${query}`)
      return members
    },
    async history(topic, limit = 50, before) {
      const query = new URLSearchParams({ room: canonical(topic, projectId), limit: String(limit) })
      if (before !== undefined) query.set('before', String(before))
      const path = `/api/v1/public/realtime/history?${query}`
      const { messages } = await repeatedly<{ messages: HistoryMessage[] }>(path)
      return messages
    },
    async disconnect(userId) {
      const { closed } = await repeatedly<{ closed: number }>('/api/v1/realtime/disconnect', { userId })
      return closed
    },
    async revoke(what) {
      const { closed } = await repeatedly<{ closed: number }>('/api/v1/realtime/revoke', what)
      return closed
    },
  }
}

/** Throws AerostackError `bad_message` for data that has no JSON form (cycles, BigInt). */
function encode(body: unknown): string | undefined {
  try {
    return JSON.stringify(body)
  } catch (error) {
    throw wrap(error, 'bad_message')
  }
}
