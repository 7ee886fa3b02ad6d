/** Keeps unanswered publishes in IndexedDB when a page closes. Loaded on demand; not a part of the core. */
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
 * Keep the publishes in `outbox` until they are answered, and send what earlier pages left behind. Throws
 * DOMException when there is no storage.
 */
export async function persist(options: StoreOptions): Promise<void> {
  const store = new Store(options, await open())
  store.start()
}

/**
 * The publishes of one page. Each page holds a lock of its name while it lives. The page that gets the lock of another
 * page takes over what that page left. Without locks every page takes over: the server recognizes a repeated publish
 * by its id.
 */
class Store implements OutboxStore {
  readonly #options: StoreOptions
  readonly #database: IDBDatabase
  readonly #locks = globalThis.navigator?.locks
  /** Pages whose locks this page holds or waits for. */
  readonly #watched: Set<string>
  /** Changes that are not written yet. */
  readonly #changed = new Map<string, Omit<Kept, 'user'> | undefined>()
  #number = 0
  #writing = false

  constructor(options: StoreOptions, database: IDBDatabase) {
    this.#options = options
    this.#database = database
    this.#watched = new Set([options.page])
  }

  start(): void {
    const { outbox, page, client } = this.#options
    this.#locks?.request(lockName(page), () => new Promise(() => {}))
    outbox.store = this
    for (const [id, text] of outbox.entries()) this.keep(id, text)
    client.onStatusChange((status) => {
      if (status !== 'connected') return
      this.#write()
      this.#inherit().catch((error) => this.#stop(error))
    })
  }

  keep(id: string, text: string): void {
    const { type, stream } = JSON.parse(text)
    if (type !== 'publish' || stream) return // the writer of a stream is gone with its page
    const { place, page } = this.#options
    this.#changed.set(id, { id, text, place, page, at: Date.now(), number: this.#number++ })
    this.#write()
  }

  drop(id: string): void {
    this.#changed.set(id, undefined)
    this.#write()
  }

  #stop(error: unknown): void {
    this.#options.outbox.store = undefined
    this.#options.failed(error)
  }

  /** Write all changes, one transaction at a time. */
  async #write(): Promise<void> {
    if (this.#writing) return
    this.#writing = true
    try {
      const user = userOf(await this.#options.currentToken())
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
    const { client, place } = this.#options
    const user = userOf(client.token)
    const ours = (kept: Kept) => kept.place === place && kept.user === user
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
    const { outbox, page, send, failed } = this.#options
    for (const { id, text } of await taken(this.#database, wanted, page)) {
      outbox.add(id, text, { resolve() {}, reject: failed })
      send(id, text)
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
