import type { AerostackError } from './errors.js'
import type { HistoryMessage } from './message-history.js'
import type { Track } from './presence.js'
import type { ClientFrame, Request } from './protocol.js'
import type { Reply } from './reply.js'
import type { Writer } from './streams.js'
import type { Subscriptions } from './subscriptions.js'

/** What channels and tables use of their client. */
export interface ClientInternals {
  readonly subscriptions: Subscriptions
  /** Send a command and resolve with its answer. */
  request<T>(request: Request): Promise<T>
  /** Announce `state` on behalf of `owner`. */
  track(owner: object, command: Track): Promise<void>
  /** End what `owner` tracks; without an owner, end all presence of this client on the topic. */
  untrack(topic: string, owner?: object): void
  /** The streams that this client writes, by topic and id. */
  readonly writers: Map<string, Writer>
  /** Call back after a pause that grows with `attempt`. */
  later(attempt: number, callback: () => void): void
  history(topic: string, limit: number, before?: number): Promise<HistoryMessage[]>
  /** The token in use, or else the app's. Rejects when the app has none at the moment. */
  token(): Promise<string | null>
  /**
   * Whether there is a connection. The first call that needs one makes it; `disconnect` prevents that.
   */
  need(): boolean
  /** Send a frame if there is a connection. Throws AerostackError for a frame that the server would refuse. */
  send(frame: ClientFrame): void
  /** The id of a new command. */
  id(): string
  /** The promise of an answer. Its rejection is reported where nobody handles it. */
  reply<T>(): Reply<T>
  /** Report an error to the app. */
  failed(error: AerostackError): void
}
