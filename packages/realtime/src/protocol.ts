/** The frames of the wire protocol `aerostack-v1` (docs/protocol.md), as closed unions. */
import { AerostackError, wrap } from './errors.js'

export const SUBPROTOCOL = 'aerostack-v1'

export type Operation = 'INSERT' | 'UPDATE' | 'DELETE'
export type State = Record<string, unknown>
type Scalar = string | number | boolean | null
/** `{column: value}` for equality, or `{column: {op: value}}`; all conditions must hold. */
export type Filter = Record<
  string,
  Scalar | Partial<Record<'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte', Scalar> & { in: readonly Scalar[] }>
>

/** One present user. `since`: when it joined, in milliseconds since the Unix epoch. */
// biome-ignore lint/suspicious/noExplicitAny: what a member's state holds is the app's affair
export interface Member<S = any> {
  userId: string
  state: S
  since: number
}

/** What the server does while this client does not keep up. */
export interface Slow {
  /**
   * `resume`: send everything, if need be after a reconnection. `latest`: the newest event of each name and `key`, or
   * what became of each row. `drop`: drop, and tell how many by a `gap`. Default `resume`.
   */
  slow?: 'resume' | 'latest' | 'drop' | undefined
  /** For `latest`: the member of the data, or those, that name what an event is about. A table needs its primary key. */
  key?: string | readonly string[] | undefined
}

export type SnapshotRequest = boolean | { limit?: number; order?: string }

export type ClientFrame =
  | ({
      type: 'subscribe'
      topic: string
      id?: string
      filter?: Filter
      since?: string
      snapshot?: SnapshotRequest
      presence?: boolean
    } & Slow)
  | { type: 'unsubscribe'; topic: string; id?: string }
  | {
      type: 'publish'
      topic: string
      event: string
      data: unknown
      id: string
      persist?: boolean
      echo?: boolean
    }
  | { type: 'track'; topic: string; state: object; id?: string }
  | { type: 'untrack'; topic: string; id?: string }
  | { type: 'presence'; topic: string; id: string }
  | { type: 'auth'; token: string }
  | { type: 'ping' }

/** A frame that is answered by its id, before it has one. */
export type Request =
  | Omit<Extract<ClientFrame, { type: 'publish' }>, 'id'>
  | Omit<Extract<ClientFrame, { type: 'track' }>, 'id'>
  | { type: 'untrack' | 'presence'; topic: string }

export interface EventFrame {
  type: 'event'
  topic: string
  event: string
  data: unknown
  userId?: string
  timestamp?: number
  id?: string
  cursor?: string
  /** A `presence:join` of a member that was there before this subscriber. */
  snapshot?: boolean
}

export interface ChangeFrame {
  type: 'db_change'
  topic: string
  operation: Operation
  data: Row
  old?: Row
  timestamp?: number
  cursor?: string
  /** The transaction that this is part of, and whether it is its last change (PostgreSQL). */
  commit?: string
  commitEnd?: boolean
}

export type Row = Record<string, unknown>

export interface SnapshotFrame {
  type: 'snapshot'
  topic: string
  rows: Row[]
  cursor: string
  last: boolean
  id?: string
}

/**
 * What an answer to a subscribe says; one without an id tells of a gap, and of how many events it is. `kinds`: what
 * strings stand for in the columns of a table where they are no text.
 */
export interface Answer {
  id?: string
  cursor?: string
  recovered?: boolean | null
  dropped?: number
  kinds?: Record<string, string>
}

export type ServerFrame =
  | { type: 'connected'; connectionId: string; userId: string | null; heartbeat: number; version: string }
  | ({ type: 'subscribed'; topic: string } & Answer)
  | { type: 'unsubscribed'; topic: string; reason?: string; id?: string }
  | EventFrame
  | ChangeFrame
  | SnapshotFrame
  | { type: 'presence'; topic: string; members: Member[]; id: string }
  | { type: 'ack'; id: string; cursor?: string; timestamp?: number; duplicate?: boolean }
  | { type: 'error'; code: string; message: string; retryable: boolean; topic?: string; id?: string }
  | { type: 'authenticated'; userId: string }
  | { type: 'pong' }

/** The text of a frame. Throws AerostackError `bad_message` for data that is not JSON (cycles, BigInt). */
export function encode(frame: ClientFrame): string {
  try {
    return JSON.stringify(frame)
  } catch (error) {
    throw wrap(error, 'bad_message')
  }
}

/**
 * The object in a text frame; its `type` may be one this version does not know.
 *
 * Throws AerostackError `bad_message` for anything that is not a JSON object with a `type`.
 */
export function decode(text: unknown): ServerFrame {
  let frame: unknown
  try {
    frame = JSON.parse(text as string)
  } catch {
    frame = null
  }
  if (typeof (frame as { type?: unknown } | null)?.type !== 'string')
    throw new AerostackError('bad_message', `Not a frame: ${text}`)
  return frame as ServerFrame
}
