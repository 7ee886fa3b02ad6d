/** A code of the protocol, or one of the client's own: `network`, `disconnected`, `listener`, `storage`, `unsupported`. */
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
  | 'rate_limited'
  | 'overloaded'
  | 'unavailable'
  | 'internal'
  | 'network'
  | 'disconnected'
  | 'listener'
  | 'storage'
  | 'unsupported'
  | (string & {})

/**
 * Every error this package gives to an app.
 *
 * `code` says what went wrong, `retryable` whether the same call may succeed later, `topic` which channel it
 * concerns.
 */
export class AerostackError extends Error {
  override readonly name = 'AerostackError'
  declare readonly code: ErrorCode
  declare readonly retryable: boolean
  declare readonly topic: string | undefined

  constructor(code: ErrorCode, message: string, retryable = false, topic?: string, cause?: unknown) {
    super(message, cause ? { cause } : undefined)
    this.code = code
    this.retryable = retryable
    this.topic = topic
  }
}

/** `error` itself when it is one of ours, else one that wraps it. */
export function wrap(error: unknown, code: ErrorCode, retryable = false, topic?: string): AerostackError {
  if (error instanceof AerostackError) return error
  const message = (error as Error | null)?.message ?? String(error)
  return new AerostackError(code, message, retryable, topic, error)
}
