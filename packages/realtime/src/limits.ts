/** What the server refuses to read, checked before anything is sent. */
import { AerostackError } from './errors.js'

/** What the server accepts in one frame, as its `connected` message says. */
export interface Limits {
  /** Bytes of a frame in UTF-8. */
  frameBytes: number
  /** Levels of objects and lists in a frame. */
  nesting: number
}

/** The server's defaults, for servers that do not say what they accept. */
export const DEFAULT_LIMITS: Limits = { frameBytes: 64 * 1024, nesting: 128 }

/**
 * Throws AerostackError `too_large` or `bad_message` for a frame that the server would refuse. Without limits, which
 * are known from the first connection on, it accepts every frame.
 */
export function checkLimits(text: string, limits: Limits | undefined): void {
  if (!limits) return
  const { frameBytes, nesting } = limits
  const bytes = byteLength(text)
  if (bytes > frameBytes)
    throw new AerostackError(
      'too_large',
      `The message has ${bytes} bytes; the server accepts ${frameBytes}. Send less data.`,
    )
  const levels = depth(text)
  if (levels > nesting)
    throw new AerostackError(
      'bad_message',
      `The message has ${levels} levels; the server accepts ${nesting}. Flatten its data.`,
    )
}

export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length
}

/** How deep the objects and lists of a JSON text are nested. */
function depth(text: string): number {
  let level = 0
  let deepest = 0
  for (const character of text.replace(/\\./g, '').replace(/"[^"]*"/g, '')) {
    if ('[{'.includes(character)) deepest = Math.max(deepest, ++level)
    if (']}'.includes(character)) level--
  }
  return deepest
}
