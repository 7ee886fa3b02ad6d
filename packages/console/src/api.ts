/** The console's HTTP calls. The header is what no page of another origin can send. */

export interface Operator {
  name: string
  rights: 'full' | 'read'
  /** Seconds since the Unix epoch. */
  until: number
}

export interface About {
  project: string
  version: string
  /** The key of `aerostack dev`, which is public. */
  hint: string | null
  operator: Operator | null
}

/** A call that the server refused. */
export class CallError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

type Query = Record<string, string | number | undefined>

const signedOut = new Set<() => void>()

/** Call `listener` whenever the server says that nobody is signed in. Returns how to stop. */
export function onSignedOut(listener: () => void): () => void {
  signedOut.add(listener)
  return () => signedOut.delete(listener)
}

export function reportSignedOut(): void {
  for (const listener of signedOut) listener()
}

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = { 'X-Aerostack-Console': '1', 'Content-Type': 'application/json', ...init.headers }
  const answer = await fetch(`/console/api/${path}`, { ...init, headers }).catch(() => {
    throw new CallError(0, 'The server cannot be reached.')
  })
  const body = await answer.json().catch(() => ({}))
  if (answer.ok) return body
  if (answer.status === 401 && path !== 'sign-in') reportSignedOut()
  throw new CallError(
    answer.status,
    body.error?.message ?? `The server answered with status ${answer.status}.`,
  )
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const written = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
  return call(written ? `${path}?${written}` : path, signal ? { signal } : {})
}

export function post<T>(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<T> {
  return call(path, { method: 'POST', body: JSON.stringify(body), headers })
}
