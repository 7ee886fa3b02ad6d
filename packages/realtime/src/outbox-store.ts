/** Keeps unanswered publishes in IndexedDB when a page closes. Loaded on demand; not a part of the core. */
import type { Outbox } from './outbox.js'

/** A publish that has no answer yet. */
interface Kept {
  id: string
  text: string
  /** The server, project and anonymous user to send it to. */
  place: string
  /** The user to send it as. */
  user: string
  /** The page that sends it: the one that made it, or a later one that took it over. */
  page: string
  /** When it was made, and its order among those of one millisecond. */
  at: number
  number: number
}

/** What the store needs of its client. */
export interface StoreOptions {
  outbox: Outbox
  /** The server, project and anonymous user. */
  place: string
  /** The name of this page. */
  page: string
  client: {
    /** The token in use, if any. */
    readonly token: string | null
    onStatusChange(listener: (status: string) => void): void
  }
  /** The token in use, or else the app's. Rejects when the app has none at the moment. */
  currentToken(): Promise<string | null>
  /** Send a request of the outbox, if there is a connection. */
  send(id: string, text: string): void
  /** Report an error to the app. */
  failed(error: unknown): void
}

const DATABASE = 'aerostack'
const STORE = 'outbox'

/**
 * Keep the publishes in `outbox` until they are answered, and send what earlier pages left behind.
 *
 * Each page holds a lock of its name while it lives. The page that gets the lock of another page takes over what
 * that page left. Without locks every page takes over: the server recognizes a repeated publish by its id. Throws
 * DOMException when there is no storage.
 */
export async function persist(options: StoreOptions): Promise<void> {
  const { outbox, place, page, failed } = options
  const database = await open()
  const locks = globalThis.navigator?.locks
  const watched = new Set([page])
  const changed = new Map<string, Omit<Kept, 'user'> | undefined>()
  let number = 0
  let writing = false

  const keep = (id: string, text: string) => {
    if (JSON.parse(text).type !== 'publish') return
    changed.set(id, { id, text, place, page, at: Date.now(), number: number++ })
    write()
  }

  const drop = (id: string) => {
    changed.set(id, undefined)
    write()
  }

  const stop = (error: unknown) => {
    outbox.store = undefined
    failed(error)
  }

  /** Write all changes, one transaction at a time. */
  async function write(): Promise<void> {
    if (writing) return
    writing = true
    try {
      const user = userOf(await options.currentToken())
      while (changed.size) {
        const batch = [...changed]
        changed.clear()
        await transact(database, 'readwrite', (store) => {
          for (const [id, kept] of batch) kept ? store.put({ ...kept, user }) : store.delete(id)
        })
      }
    } catch (error) {
      if (error instanceof DOMException) stop(error) // otherwise there is no token yet: the next connection has one
    }
    writing = false
  }

  /** Take over what pages of the same user left behind. */
  async function inherit(): Promise<void> {
    const user = userOf(options.client.token)
    const ours = (kept: Kept) => kept.place === place && kept.user === user
    const pages = (await all(database)).filter(ours).map((kept) => kept.page)
    for (const other of new Set(pages)) {
      if (watched.has(other)) continue
      watched.add(other)
      const takeOver = async () => {
        for (const { id, text } of await taken(database, (kept) => ours(kept) && kept.page === other, page)) {
          outbox.add(id, text, { resolve() {}, reject: failed })
          options.send(id, text)
        }
      }
      if (locks) locks.request(lockName(other), takeOver)
      else await takeOver()
    }
  }

  locks?.request(lockName(page), () => new Promise(() => {}))
  outbox.store = { keep, drop }
  for (const [id, text] of outbox.entries()) keep(id, text)
  options.client.onStatusChange((status) => {
    if (status !== 'connected') return
    write()
    inherit().catch(stop)
  })
}

function lockName(page: string): string {
  return `${DATABASE}-${STORE}-${page}`
}

/** The `sub` of a token; empty without one. */
function userOf(token: string | null): string {
  try {
    return (
      JSON.parse(atob((token ?? '').split('.')[1]?.replace(/-/g, '+').replace(/_/g, '/') ?? '')).sub ?? ''
    )
  } catch {
    return token ?? ''
  }
}

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' })
  return answer(request)
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** Resolves with the result of `steps` once the transaction is committed. */
function transact<T>(
  database: IDBDatabase,
  mode: IDBTransactionMode,
  steps: (store: IDBObjectStore) => T | Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode)
    const result = steps(transaction.objectStore(STORE))
    transaction.oncomplete = () => resolve(result)
    transaction.onabort = () => reject(transaction.error)
  })
}

function all(database: IDBDatabase): Promise<Kept[]> {
  return transact(database, 'readonly', (store) => answer<Kept[]>(store.getAll()))
}

/** Assign the `wanted` publishes to `page`, and return them in the order they were made. */
async function taken(database: IDBDatabase, wanted: (kept: Kept) => boolean, page: string): Promise<Kept[]> {
  const found = await transact(database, 'readwrite', async (store) => {
    const kept = (await answer<Kept[]>(store.getAll())).filter(wanted)
    for (const each of kept) store.put({ ...each, page })
    return kept
  })
  return found.sort((one, other) => one.at - other.at || one.number - other.number)
}
