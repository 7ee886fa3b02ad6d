/** The frames of the wire protocol `aerostack-v1` (docs/protocol.md), as closed unions. */
import type { ColumnTypes } from './column-types.js'
import { AerostackError, wrap } from './errors.js'
import type { Limits } from './limits.js'

export const SUBPROTOCOL = 'aerostack-v1'

/** What happened to a row. */
export type Operation = 'INSERT' | 'UPDATE' | 'DELETE'

type Scalar = string | number | boolean | null
/** What a column of type `V` is compared with. Text columns take numbers too: exact decimals are strings. */
type Comparand<V> = unknown extends V ? Scalar : string extends V ? Scalar : Extract<V, Scalar> | null
type Operators<V> = Partial<Record<'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte', Comparand<V>>> & {
  in?: readonly Comparand<V>[]
}

/**
 * `{ column: value }` for equality, or `{ column: { operator: value } }` with `eq ne lt lte gt gte in`. All conditions
 * must hold. With the type of a row, columns and values are checked.
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type every column is allowed
export type Filter<R = any> = { readonly [C in keyof R]?: Comparand<R[C]> | Operators<R[C]> }

/** What a member is: a user with all connections, or one connection. */
export type MemberKind = 'user' | 'connection'

/** A user who is present; with `connectionId`, a connection that is. */
// biome-ignore lint/suspicious/noExplicitAny: a member's state is whatever the app tracks
export interface Member<S = any> {
  userId: string
  /** What the user tracked. */
  state: S
  /** When the user joined, in milliseconds since the Unix epoch. */
  since: number
  /** Set for a member that is a connection: `track(state, { per: 'connection' })`. */
  connectionId?: string | undefined
}

/** What the server does while this client does not keep up. */
export interface Slow {
  /**
   * - `resume` (default): send everything, after a reconnection if necessary.
   * - `latest`: send only the newest event of each name and `key`; on a table, the net change of each row.
   * - `drop`: drop events and report how many as a `gap`.
   */
  slow?: 'resume' | 'latest' | 'drop' | undefined
  /** For `latest`: the field or fields of the data that identify what an event is about. Tables need their primary key. */
  key?: string | readonly string[] | undefined
}

/** How a stream ended. */
export type StreamEnd = 'complete' | 'cancelled' | 'failed'

/** `open` while a stream may grow; all others are final. */
export type StreamState = 'open' | StreamEnd

/** Whether to receive streams while they grow. An object names the streams that the client has, and how many pieces. */
export type StreamsRequest = boolean | Record<string, number>

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
      streams?: StreamsRequest
      history?: number | 'all'
      advice?: true
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
      stream?: boolean
      traceparent?: string
      compacts?: string
    }
  | { type: 'append'; topic: string; id: string; n: number; data?: unknown; state?: StreamEnd; ref?: string }
  | { type: 'cancel'; topic: string; id: string; reason?: string; ref?: string }
  | { type: 'track'; topic: string; state: object; per?: MemberKind; id?: string }
  | { type: 'untrack'; topic: string; id?: string }
  | { type: 'presence'; topic: string; id: string }
  | { type: 'auth'; token: string }
  | { type: 'chat'; roomId: string; text: string; metadata?: unknown }
  | { type: 'ping' }

/**
 * A command that is answered by its id, before it has one. Those about a stream have the id of the stream: the opening
 * is answered by it, the others by a `ref`.
 */
export type Request =
  | (Omit<Extract<ClientFrame, { type: 'publish' }>, 'id'> & { id?: string })
  | Omit<Extract<ClientFrame, { type: 'track' }>, 'id'>
  | Extract<ClientFrame, { type: 'append' | 'cancel' }>
  | { type: 'untrack' | 'presence'; topic: string }

export interface EventFrame {
  /** `chat_message`: an event that was sent by a `chat` command. */
  type: 'event' | 'chat_message'
  topic: string
  event: string
  data: unknown
  userId?: string
  timestamp?: number
  id?: string
  cursor?: string
  /** True for the `presence:join` of a member who was there before this subscriber. */
  snapshot?: boolean
  /** Presence of a member that is a connection. */
  connectionId?: string
  /** What there is so far of a stream: `n` pieces are in `data`. */
  stream?: { n: number; state: StreamState }
  /** W3C Trace Context of the publish. */
  traceparent?: string
}

/** Pieces `n` up to `to` of a stream, joined; `state` with its end. */
export interface AppendFrame {
  type: 'append'
  topic: string
  id: string
  n: number
  to: number
  cursor: string
  data?: string | unknown[]
  state?: StreamEnd
}

export interface ChangeFrame {
  type: 'db_change'
  topic: string
  operation: Operation
  data: Row
  old?: Row
  timestamp?: number
  cursor?: string
  /** The transaction of this change, and whether this is its last change (PostgreSQL). */
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

/** The answer to `subscribe`. Without an `id` it reports a gap in a live subscription. */
export interface Answer {
  id?: string
  cursor?: string
  /** Whether `since` was honoured; null when there was none. */
  recovered?: boolean | null
  /** How many events a gap has, where the server knows. */
  dropped?: number
  /** How many of the newest stored messages follow at once. */
  history?: number
  /** The types of columns whose strings represent other values. */
  columnTypes?: ColumnTypes
}

/** The first frame of the server. */
export interface ConnectedFrame {
  type: 'connected'
  connectionId: string
  userId: string | null
  /** Seconds of silence after which a client should send a ping. */
  heartbeat: number
  version: string
  /** What the server accepts, if it announces that. */
  limits?: Limits | undefined
}

export type ServerFrame =
  | ConnectedFrame
  | ({ type: 'subscribed'; topic: string } & Answer)
  | { type: 'unsubscribed'; topic: string; reason?: string; id?: string }
  | EventFrame
  | AppendFrame
  | { type: 'cancel'; topic: string; id: string; userId?: string; reason?: string }
  | { type: 'advice'; topic: string; message: string }
  | ChangeFrame
  | SnapshotFrame
  | { type: 'presence'; topic: string; members: Member[]; id: string }
  | {
      type: 'ack'
      id: string
      cursor?: string
      timestamp?: number
      duplicate?: boolean
      n?: number
      state?: StreamState
      ref?: string
    }
  | {
      type: 'error'
      code: string
      message: string
      retryable: boolean
      topic?: string
      id?: string
      n?: number
      ref?: string
    }
  | { type: 'authenticated'; userId: string }
  | { type: 'pong' }

/** The text of a frame. Throws AerostackError `bad_message` for data that has no JSON form (cycles, BigInt). */
export function encode(frame: ClientFrame): string {
  try {
    return JSON.stringify(frame)
  } catch (error) {
    throw wrap(error, 'bad_message')
  }
}

/**
 * The object in a text frame. Its `type` may be one that this version does not know.
 *
 * Throws AerostackError `bad_message` for anything that is not a JSON object with a `type`.
 */
export function decode(text: unknown): ServerFrame {
  try {
    const frame = JSON.parse(text as string)
    if (typeof frame.type === 'string') return frame
  } catch {} // not JSON, or null
  throw new AerostackError('bad_message', 'The server sent an unreadable frame.')
}
