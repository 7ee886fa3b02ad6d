import type { Operation } from './protocol.js'

/** What a listener is given. */
// biome-ignore lint/suspicious/noExplicitAny: an untyped channel carries whatever its publishers sent
export interface RealtimePayload<T = any> {
  type: 'db_change' | 'event'
  /** The topic as the app wrote it. */
  topic: string
  /** Row changes only. */
  operation?: Operation
  /** Custom, presence and `gap` events only. */
  event?: string
  /** New or current row, or the event's data. */
  data: T
  /** The previous row (UPDATE and DELETE). */
  old?: T
  userId?: string
  /** Milliseconds since the Unix epoch. */
  timestamp?: number | string
  /** The event's id, the same that message history gives. */
  id?: string
  /** Where the event stands in its channel's log. */
  cursor?: string
  /** The transaction that a row change is part of, in all tables alike (PostgreSQL). */
  commit?: string
  /** The last row change of its transaction. */
  commitEnd?: boolean
  /** A `presence:join` of a member that was there before this listener. */
  snapshot?: boolean
}

/** Event names of a channel and the type of their data. */
// biome-ignore lint/suspicious/noExplicitAny: interfaces are assignable to no stricter index signature
export type Events = Record<string, any>

export type PresenceEvent = 'presence:join' | 'presence:update' | 'presence:leave'
