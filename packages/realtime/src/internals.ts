import type { AerostackError } from './errors.js'
import type { HistoryMessage } from './history.js'
import type { Request } from './protocol.js'
import type { Subscriptions } from './subscriptions.js'

/** What channels and tables use of their client. */
export interface ClientInternals {
  readonly subscriptions: Subscriptions
  /** Send a command and resolve with its answer. */
  request<T>(request: Request): Promise<T>
  /** Announce `state` on behalf of `owner`. */
  track(topic: string, owner: object, state: object): Promise<void>
  /** End what `owner` tracks; without an owner, end all presence of this client on the topic. */
  untrack(topic: string, owner?: object): void
  history(topic: string, limit: number, before?: number): Promise<HistoryMessage[]>
  /** Report an error to the app. */
  failed(error: AerostackError): void
}
