/** WebSocket close codes and what a client does after them (docs/protocol.md §7). */
import type { ErrorCode } from './errors.js'

/** The client's own code for a server that stopped answering. */
export const HEARTBEAT_TIMED_OUT = 4001
/** RFC 6455: the server refuses to read a frame of this size. */
export const FRAME_TOO_LARGE = 1009

export type NextStep = 'reconnect' | 'reconnect late' | 'renew token' | 'stop'

/**
 * What to do after the connection closed with `code`. Ranges decide, so that a server may add codes without a new
 * client: 4400 to 4899 stop, all others reconnect. Two codes are special: 4401 requires another token, and 4429
 * the longest back-off.
 */
export function nextStep(code: number): NextStep {
  if (code === 4401) return 'renew token'
  if (code === 4429) return 'reconnect late'
  return code >= 4400 && code < 4900 ? 'stop' : 'reconnect'
}

/** The error code for a close code after which the client stops. */
export function errorCodeOfClose(code: number): ErrorCode {
  if (code === 4400) return 'bad_message'
  if (code === 4401 || code === 4408) return 'unauthorized'
  return 'forbidden'
}
