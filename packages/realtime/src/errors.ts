/**
 * A code of the protocol (docs/protocol.md §7) or one of the client's own: `network`, `disconnected`, `listener`,
 * `storage`, `unsupported`, `invalid_url`.
 */
export type ErrorCode =
  | 'bad_message'
  | 'unknown_type'
  | 'invalid_topic'
  | 'invalid_filter'
  | 'too_large'
  | 'unauthorized'
  | 'forbidden'
  | 'token_expired'
  | 'not_found'
  | 'out_of_step'
  | 'conflict'
  | 'cancelled'
  | 'rate_limited'
  | 'overloaded'
  | 'unavailable'
  | 'internal'
  | 'network'
  | 'disconnected'
  | 'listener'
  | 'storage'
  | 'unsupported'
  | 'invalid_url'
  | (string & {})

/** Every error that this package gives to an app. */
export class AerostackError extends Error {
  override readonly name = 'AerostackError'
  /** What went wrong. */
  declare readonly code: ErrorCode
  /** Whether the same call may succeed later. */
  declare readonly retryable: boolean
  /** The channel it concerns, if any. */
  declare readonly topic: string | undefined
  /** `out_of_step`: the number of the piece to continue with. */
  declare n?: number | undefined

  constructor(code: ErrorCode, message: string, retryable = false, topic?: string, cause?: unknown) {
    super(message, cause ? { cause } : undefined)
    this.code = code
    this.retryable = retryable
    this.topic = topic
  }
}

/** `error` itself when it is an AerostackError, else an AerostackError that wraps it. */
export function wrap(error: unknown, code: ErrorCode, retryable = false, topic?: string): AerostackError {
  if (error instanceof AerostackError) return error
  const message = (error as Error | null)?.message ?? String(error)
  return new AerostackError(code, message, retryable, topic, error)
}
