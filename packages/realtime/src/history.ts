import { AerostackError, wrap } from './errors.js'

/** A persisted message. `created_at`: milliseconds since the Unix epoch, strictly increasing within a room. */
// biome-ignore lint/suspicious/noExplicitAny: the data is what its publisher sent
export interface HistoryMessage<T = any> {
  id: string
  room_id: string
  user_id: string
  event: string
  data: T
  created_at: number
}

/** Where history is, and what opens it. */
export interface HistorySource {
  /** The server's address, `http(s)://…` without a trailing slash. */
  origin: string
  apiKey: string | undefined
  token: string | null
  fetch: typeof globalThis.fetch
}

/** Persisted messages of a room, newest first. Throws AerostackError. */
export async function fetchHistory(
  { origin, apiKey, token, fetch }: HistorySource,
  room: string,
  limit: number,
  before: number | undefined,
): Promise<HistoryMessage[]> {
  const query = new URLSearchParams({ room, limit: String(limit) })
  if (before !== undefined) query.set('before', String(before))
  const headers = {
    ...(apiKey && { 'X-Aerostack-Key': apiKey }),
    ...(token && { Authorization: `Bearer ${token}` }),
  }
  try {
    const response = await fetch(`${origin}/api/v1/public/realtime/history?${query}`, { headers })
    const body = await response.json().catch(() => null)
    if (response.ok && body) return body.messages
    const { code = 'internal', message = `The server answered ${response.status}.` } = body?.error ?? {}
    throw new AerostackError(code, message, response.status === 429 || response.status >= 500, room)
  } catch (error) {
    throw wrap(error, 'network', true, room)
  }
}
