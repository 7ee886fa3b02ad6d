/** Keeps unanswered publishes in IndexedDB over a closed page. Loaded when asked for; not a part of the core. */
import { AerostackError, type Client } from 'aerostack-realtime'
import type { Outbox } from './outbox.js'

/** A publish that has no answer yet. `place` and `user` are where and as whom it has to be sent. */
interface Kept {
  id: string
  text: string
  place: string
  user: string
  /** The page that sends it; the one that made it, or one that came after. */
  page: string
  at: number
  /** Its place among those of one millisecond. */
  number: number
}

const DATABASE = 'aerostack'
const STORE = 'outbox'

/**
 * Keep what `outbox` holds until it is answered, and send what pages before this one left behind. `page` names this
 * page, `place` the server, project and anonymous user.
 *
 * A page holds the lock of its name for as long as it lives; who gets a page's lock inherits what it left. Where
 * there are no locks everybody inherits: the server knows a repeated publish by its id. Throws DOMException.
 */
export async function persist(client: Client, outbox: Outbox, place: string, page: string): Promise<void> {
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

  const failed = (error: DOMException) => {
    outbox.store = undefined
    client.wire.failed(new AerostackError('storage', error.message, false, undefined, error))
  }

  /** Write all that has changed, a transaction at a time. */
  async function write(): Promise<void> {
    if (writing) return
    writing = true
    try {
      const user = userOf(await client.wire.token())
      while (changed.size) {
        const batch = [...changed]
        changed.clear()
        await transact(database, 'readwrite', (store) => {
          for (const [id, kept] of batch) kept ? store.put({ ...kept, user }) : store.delete(id)
        })
      }
    } catch (error) {
      if (error instanceof DOMException) failed(error) // else there is no token now: a connection will have one
    }
    writing = false
  }

  async function inherit(): Promise<void> {
    const user = userOf(client.token)
    const ours = (kept: Kept) => kept.place === place && kept.user === user
    const left = (await all(database)).filter(ours).map((kept) => kept.page)
    for (const other of new Set(left)) {
      if (watched.has(other)) continue
      watched.add(other)
      const take = async () => {
        for (const { id, text } of await taken(database, (kept) => ours(kept) && kept.page === other, page)) {
          outbox.add(id, text, { resolve() {}, reject: (error) => client.wire.failed(error) })
          client.wire.send(text)
        }
      }
      if (locks) locks.request(nameOf(other), take)
      else await take()
    }
  }

  locks?.request(nameOf(page), () => new Promise(() => {}))
  outbox.store = { keep, drop }
  for (const text of outbox.texts()) keep(JSON.parse(text).id, text)
  client.onStatusChange((status) => {
    if (status !== 'connected') return
    write()
    inherit().catch(failed)
  })
}

function nameOf(page: string): string {
  return `${DATABASE}-${STORE}-${page}`
}

/** The `sub` of a token; nobody's is ''. */
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

/** Resolves with what `steps` returned, once it is committed. */
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

/** Make those that are `wanted` this page's, and return them in the order they were made. */
async function taken(database: IDBDatabase, wanted: (kept: Kept) => boolean, page: string): Promise<Kept[]> {
  const found = await transact(database, 'readwrite', async (store) => {
    const kept = (await answer<Kept[]>(store.getAll())).filter(wanted)
    for (const each of kept) store.put({ ...each, page })
    return kept
  })
  return found.sort((one, other) => one.at - other.at || one.number - other.number)
}
