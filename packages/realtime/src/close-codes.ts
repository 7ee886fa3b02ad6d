/** WebSocket close codes and what a client does after them (docs/protocol.md §7). */
import type { ErrorCode } from './errors.js'

/** The client's own code for a server that stopped answering. */
export const HEARTBEAT_TIMED_OUT = 4001
/** RFC 6455: the server refuses to read a frame of this size. */
export const FRAME_TOO_LARGE = 1009

/** The server needs another token; without one the client stops. */
export const TOKEN_REFUSED = 4401
/** The client sent too much: it reconnects after the longest back-off. */
export const RATE_LIMITED = 4429

/**
 * Whether the client stops after the connection closed with `code`, instead of reconnecting. Ranges decide, so that a
 * server may add codes without a new client.
 */
export function isFinal(code: number): boolean {
  return code >= 4400 && code < 4900 && code !== RATE_LIMITED
}

/** The error code for a close code after which the client stops. */
export function errorCodeOfClose(code: number): ErrorCode {
  if (code === 4400) return 'bad_message'
  if (code === TOKEN_REFUSED || code === 4408) return 'unauthorized'
  return 'forbidden'
}
