/** Message history. Loaded with the first call that reads it; not a part of the core. */
import { call } from './http.js'
import type { StreamState } from './protocol.js'

/** A persisted message. */
// biome-ignore lint/suspicious/noExplicitAny: the data is whatever its publisher sent
export interface HistoryMessage<T = any> {
  id: string
  room_id: string
  user_id: string
  event: string
  data: T
  /** Milliseconds since the Unix epoch, strictly increasing within a room. */
  created_at: number
  /** Streams: how many pieces are in `data`, and whether it still grows. */
  n?: number
  state?: StreamState
}

/** Where to read history, and with which credentials. */
export interface HistorySource {
  /** The server's address, `http(s)://…` without a trailing slash. */
  origin: string
  apiKey?: string | undefined
  token(): Promise<string | null>
  fetch?: typeof globalThis.fetch | undefined
}

/** Persisted messages of a room, newest first. Throws AerostackError. */
export async function fetchHistory(
  { origin, apiKey, token: currentToken, fetch = globalThis.fetch }: HistorySource,
  room: string,
  limit: number,
  before: number | undefined,
): Promise<HistoryMessage[]> {
  const query = new URLSearchParams({ room, limit: String(limit) })
  if (before !== undefined) query.set('before', String(before))
  const token = await currentToken()
  const headers = {
    ...(apiKey && { 'X-Aerostack-Key': apiKey }),
    ...(token && { Authorization: `Bearer ${token}` }),
  }
  const url = `${origin}/api/v1/public/realtime/history?${query}`
  const { messages } = await call<{ messages: HistoryMessage[] }>(fetch, url, { headers }, room)
  return messages
}
