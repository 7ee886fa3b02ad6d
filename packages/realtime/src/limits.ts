/** What the server refuses to read, checked before anything is sent. */
import { AerostackError, type ErrorCode } from './errors.js'

/** What the server accepts in one frame, as its `connected` message says. */
export interface Limits {
  /** Bytes of a frame in UTF-8. */
  frameBytes: number
  /** Levels of objects and lists in a frame. */
  nesting: number
}

/**
 * Throws AerostackError `too_large` or `bad_message` for a frame that the server would refuse. Without limits, which
 * servers announce when they accept a connection, every frame passes.
 */
export function checkLimits(text: string, limits: Limits | undefined): void {
  if (!limits) return
  check('too_large', byteLength(text), 'bytes', limits.frameBytes)
  check('bad_message', depth(text), 'levels', limits.nesting)
}

function check(code: ErrorCode, found: number, unit: string, accepted: number): void {
  if (found > accepted)
    throw new AerostackError(
      code,
      `The message has ${found} ${unit}; the server accepts ${accepted}. Send less data.`,
    )
}

export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length
}

/** How deep the objects and lists of a JSON text are nested. */
function depth(text: string): number {
  let level = 0
  let deepest = 0
  for (const bracket of text.replace(/\\./g, '').replace(/"[^"]*"|[^[\]{}]/g, '')) {
    level += '[{'.includes(bracket) ? 1 : -1
    deepest = Math.max(deepest, level)
  }
  return deepest
}
