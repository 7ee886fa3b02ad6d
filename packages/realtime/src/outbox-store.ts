/** Keeps unanswered publishes in IndexedDB when a page closes. Loaded on demand; not a part of the core. */
import { wrap } from './errors.js'
import type { ClientInternals } from './internals.js'
import type { Outbox, OutboxStore } from './outbox.js'

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

/** What the store uses of its client. */
export interface StoreClient {
  /** The token in use, if any. */
  readonly token: string | null
  readonly internals: Pick<ClientInternals, 'token' | 'failed'>
  onStatusChange(listener: (status: string) => void): void
}

const DATABASE = 'aerostack'
const STORE = 'outbox'

/**
 * Keep the publishes in `outbox` until they are answered, and send what earlier pages left behind. `place` is the
 * server, project and anonymous user, `page` the name of this page. Throws DOMException when there is no storage.
 */
export async function persist(
  client: StoreClient,
  outbox: Outbox,
  place: string,
  page: string,
): Promise<void> {
  const store = new Store(client, outbox, place, page, await open())
  store.start()
}

/**
 * The publishes of one page. Each page holds a lock of its name while it lives. The page that gets the lock of another
 * page takes over what that page left. Without locks every page takes over: the server recognizes a repeated publish
 * by its id.
 */
class Store implements OutboxStore {
  readonly #client: StoreClient
  readonly #outbox: Outbox
  readonly #place: string
  readonly #page: string
  readonly #database: IDBDatabase
  readonly #locks = globalThis.navigator?.locks
  /** Pages whose locks this page holds or waits for. */
  readonly #watched: Set<string>
  /** Changes that are not written yet. */
  readonly #changed = new Map<string, Omit<Kept, 'user'> | undefined>()
  #number = 0
  #writing = false

  constructor(client: StoreClient, outbox: Outbox, place: string, page: string, database: IDBDatabase) {
    this.#client = client
    this.#outbox = outbox
    this.#place = place
    this.#page = page
    this.#database = database
    this.#watched = new Set([page])
  }

  start(): void {
    this.#locks?.request(lockName(this.#page), () => new Promise(() => {}))
    this.#outbox.store = this
    for (const [id, text] of this.#outbox.entries()) this.keep(id, text)
    this.#client.onStatusChange((status) => {
      if (status !== 'connected') return
      this.#write()
      this.#inherit().catch((error) => this.#stop(error))
    })
  }

  keep(id: string, text: string): void {
    const { type, stream } = JSON.parse(text)
    if (type !== 'publish' || stream) return // the writer of a stream is gone with its page
    const kept = { id, text, place: this.#place, page: this.#page, at: Date.now(), number: this.#number++ }
    this.#changed.set(id, kept)
    this.#write()
  }

  drop(id: string): void {
    this.#changed.set(id, undefined)
    this.#write()
  }

  #stop(error: unknown): void {
    this.#outbox.store = undefined
    this.#client.internals.failed(wrap(error, 'storage'))
  }

  /** Write all changes, one transaction at a time. */
  async #write(): Promise<void> {
    if (this.#writing) return
    this.#writing = true
    try {
      const user = userOf(await this.#client.internals.token())
      while (this.#changed.size) {
        const batch = [...this.#changed]
        this.#changed.clear()
        await transact(this.#database, 'readwrite', (store) => {
          for (const [id, kept] of batch) kept ? store.put({ ...kept, user }) : store.delete(id)
        })
      }
    } catch (error) {
      if (error instanceof DOMException) this.#stop(error) // otherwise there is no token yet: the next connection has one
    }
    this.#writing = false
  }

  /** Take over what other pages of the same user left behind. */
  async #inherit(): Promise<void> {
    const user = userOf(this.#client.token)
    const ours = (kept: Kept) => kept.place === this.#place && kept.user === user
    const pages = (await all(this.#database)).filter(ours).map((kept) => kept.page)
    for (const page of new Set(pages)) {
      if (this.#watched.has(page)) continue
      this.#watched.add(page)
      const takeOver = () => this.#takeOver((kept) => ours(kept) && kept.page === page)
      if (this.#locks) this.#locks.request(lockName(page), takeOver)
      else await takeOver()
    }
  }

  async #takeOver(wanted: (kept: Kept) => boolean): Promise<void> {
    for (const { id, text } of await taken(this.#database, wanted, this.#page)) {
      this.#outbox.add(id, text, { resolve() {}, reject: this.#client.internals.failed })
      this.#outbox.send(id, text)
    }
  }
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
