import type { Clock, SocketConstructor } from './connection.js'
import type { AerostackError } from './errors.js'

/** Options of `createClient`. */
export interface ClientOptions {
  /**
   * The server's address, `http(s)://` or `ws(s)://`. Of several addresses the client uses a random one, and another
   * one when that fails. Default: the page's own origin.
   */
  url?: string | readonly string[] | undefined
  /** The same as `url`. */
  baseUrl?: string | readonly string[] | undefined
  /** Default: the project of the server. */
  projectId?: string
  /** A JWT that identifies the user. */
  token?: string | null
  /** Called before every connection, and when the server reports that the token has expired. */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>
  /** The id of an anonymous user, where the server allows anonymous clients. */
  userId?: string
  /** A publishable key. */
  apiKey?: string
  /** How often to try to reconnect before the status becomes `disconnected`. Default: without limit. */
  maxReconnectAttempts?: number | undefined
  /**
   * Browsers: keep unanswered publishes in IndexedDB, so that the next page of this origin sends what a closed page
   * left behind.
   */
  persistOutbox?: boolean
  /** Called for every error that no promise of the app receives. */
  onError?: (error: AerostackError) => void
  /** A WebSocket class, for platforms that have none (Node 20): the one of `ws`. */
  WebSocket?: SocketConstructor
  /** Replaces the platform's `fetch`. */
  fetch?: typeof globalThis.fetch
  /** Replaces the platform's timers, in tests. */
  clock?: Clock
  /** A random number in [0, 1) for back-off and the choice of an address. Replaceable in tests. */
  random?: () => number
}

export const SYSTEM_CLOCK: Clock = {
  now: Date.now,
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer as number),
}
