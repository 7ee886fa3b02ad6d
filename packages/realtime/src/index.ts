export {
  Channel,
  type ChannelOptions,
  type PublishOptions,
  type Subscribing,
  type TrackOptions,
} from './channel.js'
export { Client, createClient } from './client.js'
export type { ClientOptions } from './client-options.js'
export type { Clock, Socket, SocketConstructor, Status } from './connection.js'
export { AerostackError, type ErrorCode } from './errors.js'
export type { Limits } from './limits.js'
export type { HistoryMessage } from './message-history.js'
export type { Ack } from './outbox.js'
export type { Events, Gap, PresenceEvent, RealtimePayload } from './payload.js'
export type { Filter, Member, MemberKind, Operation, Slow, StreamState } from './protocol.js'
export type { Stream, StreamData, StreamOptions } from './streams.js'
