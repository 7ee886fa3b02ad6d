/**
 * THE PART THAT IS NOT FOR BROWSERS.
 *
 * In a real app these lines are your backend's: they hold the secret key, which may do anything to the database,
 * and they check who is asking before they write. The examples have no backend of their own, so that you can start
 * them by one command; they use the keys of `aerostack dev`, which are public and work on your own machine only.
 */
const SECRET_KEY = 'ac_secret_dev'
const TOKEN_SECRET = 'aerostack-dev-token-secret-for-loopback-only'

type Value = string | number | null

/** Run one statement. Resolves with its rows; rejects with what the database said. */
export async function query<R>(sql: string, params: readonly Value[] = []): Promise<R[]> {
  return (await call('/v1/db/query', { sql, params })).results
}

/** Send an event to all subscribers of `topic`. */
export async function emit(topic: string, event: string, data: unknown): Promise<void> {
  await call('/api/v1/realtime/publish', { topic, event, data })
}

/** A token that proves who a user is, as a backend issues it after a sign-in. Rules believe nothing else. */
export async function tokenOf(user: { id: string; name?: string | null }): Promise<string> {
  const claims = { sub: user.id, name: user.name, exp: Math.floor(Date.now() / 1000) + 3_600 }
  const text = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => encoded(bytes(JSON.stringify(part))))
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', bytes(TOKEN_SECRET), algorithm, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', key, bytes(text.join('.')))
  return [...text, encoded(new Uint8Array(signature))].join('.')
}

const bytes = (text: string) => new TextEncoder().encode(text)

function encoded(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(
    /[+/=]/g,
    (found) => ({ '+': '-', '/': '_' })[found] ?? '',
  )
}

// biome-ignore lint/suspicious/noExplicitAny: each call answers with something of its own
async function call(path: string, body: object): Promise<any> {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${SECRET_KEY}` },
    body: JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error?.message ?? `The server answered ${response.status}.`)
  return answer
}
