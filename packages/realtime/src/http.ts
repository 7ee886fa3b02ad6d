/** One HTTP call to the server: JSON in, JSON out, failures as AerostackError. */
import { AerostackError } from './errors.js'

/** The answer's body. Throws AerostackError with the server's code, or `network` when there is no answer. */
export async function call<T>(
  fetch: typeof globalThis.fetch,
  url: string,
  init: RequestInit,
  topic?: string,
): Promise<T> {
  let response: Response
  try {
    response = await fetch(url, init)
  } catch (error) {
    const { message, cause } = error as Error
    const reason = (cause as Error | undefined)?.message || message // Node's message is only "fetch failed"
    const [address] = url.split('?')
    const sentence = `No answer from ${address}: ${reason}. Check that a server runs there, and the address.`
    throw new AerostackError('network', sentence, true, topic, error)
  }
  const body = await response.json().catch(() => null)
  if (response.ok && body) return body
  const { status } = response
  const { code = 'internal', message = `The server answered with HTTP status ${status}.` } = {
    ...body,
    ...body?.error,
  }
  throw new AerostackError(code, message, status === 429 || status >= 500, topic)
}
