/**
 * THE PART THAT IS NOT FOR BROWSERS.
 *
 * In a real app these lines are your backend's: they hold the secret key, which may do anything to the database,
 * and they check who is asking before they write. The examples have no backend of their own, so that you can start
 * them by one command; they use the key of `aerostack dev`, which is public and works on your own machine only.
 */
const SECRET_KEY = 'ac_secret_dev'

type Value = string | number | null

/** Run one statement. Resolves with its rows; rejects with what the database said. */
export async function query<R>(sql: string, params: readonly Value[] = []): Promise<R[]> {
  const response = await fetch('/v1/db/query', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${SECRET_KEY}` },
    body: JSON.stringify({ sql, params }),
  })
  const body = await response.json()
  if (!response.ok) throw new Error(body.error?.message ?? `The server answered ${response.status}.`)
  return body.results
}
