import type { Operation, StreamState } from './protocol.js'

/** What a listener receives. */
// biome-ignore lint/suspicious/noExplicitAny: an untyped channel carries whatever its publishers sent
export interface RealtimePayload<T = any> {
  /** `chat_message`: an event that was sent by `sendChat`. */
  type: 'db_change' | 'event' | 'chat_message'
  /** The topic as the app wrote it. */
  topic: string
  /** Row changes only. */
  operation?: Operation
  /** Custom, presence and `gap` events only. */
  event?: string
  /** The new or current row, or the event's data. */
  data: T
  /** Streams: what was added to `data` since the last call. Missing when `data` replaces what there was. */
  delta?: T
  /** Streams: whether it still grows, or how it ended. */
  state?: StreamState
  /** The previous row (UPDATE and DELETE). */
  old?: T
  /** The user who sent the event. */
  userId?: string
  /** Milliseconds since the Unix epoch. */
  timestamp?: number | string
  /** The event's id, the same as in message history. */
  id?: string
  /** The event's position in its channel's log. */
  cursor?: string
  /** The transaction of a row change, the same for all tables (PostgreSQL). */
  commit?: string
  /** True for the last row change of its transaction. */
  commitEnd?: boolean
  /** True for the `presence:join` of a member who was there before this listener. */
  snapshot?: boolean
  /** Presence of a member that is a connection. */
  connectionId?: string
  /** W3C Trace Context of the publish, or of the server's span for it. */
  traceparent?: string
}

/** The data of a `gap` event: events between `since` and the payload's `cursor` may be missing. */
export interface Gap {
  /**
   * - `not_recovered`: the server could not replay everything after `since`.
   * - `interrupted`: the log of a live subscription was interrupted.
   * - `dropped`: the server dropped events, because the channel asked for `slow: 'drop'`.
   */
  reason: 'not_recovered' | 'interrupted' | 'dropped'
  /** The last cursor that was handled before the gap. */
  since: string | null
  /** How many events were dropped, where the server knows. */
  dropped?: number
}

/** Event names of a channel and the type of their data. */
// biome-ignore lint/suspicious/noExplicitAny: interfaces are assignable to no stricter index signature
export type Events = Record<string, any>

/** The events of presence. */
export type PresenceEvent = 'presence:join' | 'presence:update' | 'presence:leave'
