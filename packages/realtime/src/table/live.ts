import { AerostackError, type ChannelOptions, type Client, type Filter } from 'aerostack-realtime'
import { Store, type StoreOptions, type TableState } from './store.js'
import type { AnyRow } from './window.js'

type Column<R> = keyof NoInfer<R> & string

/** Options of `liveTable`. */
export interface TableOptions<R = AnyRow> {
  /** Only the rows that match. */
  filter?: Filter<NoInfer<R>>
  /** `'column'`, or `'-column'` for descending order. Without it: as the server sends them, new rows last. */
  order?: Column<R> | `-${Column<R>}`
  /** At most this many rows, up to 10,000. */
  limit?: number
  /** The primary key: the column or columns that identify a row. Default `id`. */
  key?: Column<R> | readonly Column<R>[]
  /** What the server does while this client does not keep up: `latest` sends only the net change of each row. */
  slow?: ChannelOptions['slow']
  /** Rows to show until the snapshot arrives, such as those of a server-rendered page. */
  initial?: readonly R[]
}

/** A store, and how many open tables use it. */
interface Shared {
  store: Store<AnyRow>
  users: number
}
const clients = new WeakMap<Client, Map<string, Shared>>()

/**
 * The rows of a table, or of a view of it, kept equal to the database. Tables of one client with the same options share
 * their rows.
 *
 * Throws AerostackError `invalid_topic`.
 */
export function liveTable<R extends AnyRow = AnyRow>(
  client: Client,
  table: string,
  options: TableOptions<R> = {},
): LiveTable<R> {
  return new LiveTable<R>(client, table, options).open()
}

/** A handle on live rows. They are kept up to date while it is open. */
export class LiveTable<R extends AnyRow = AnyRow> {
  readonly #client: Client
  readonly #topic: string
  readonly #options: StoreOptions<R>
  readonly #name: string
  /** The state when it was closed. */
  #last: TableState<R>
  readonly #listeners = new Map<(state: TableState<R>) => void, () => void>()
  #shared: Shared | undefined

  /** Creates a handle that is not open yet. */
  constructor(client: Client, table: string, options: TableOptions<R> = {}) {
    const { filter, order, limit, slow, initial } = options
    const key = [options.key ?? 'id'].flat()
    this.#client = client
    this.#topic = client.channel(table).canonical
    if (!this.#topic.startsWith('table/'))
      throw new AerostackError('invalid_topic', `'${table}' is a channel, not a table.`, false, table)
    this.#options = { filter, order, limit, key, slow, initial }
    this.#name = JSON.stringify([this.#topic, filter, order, limit, key, slow])
    this.#last = { rows: initial ?? [], loading: !initial, stale: true, error: null }
  }

  /** Everything below as one immutable object, replaced whenever anything changes. */
  get state(): TableState<R> {
    const shared = this.#shared ?? clients.get(this.#client)?.get(this.#name)
    return (shared?.store.state as TableState<R> | undefined) ?? this.#last
  }

  /** The rows; a new array whenever they change. A row that did not change stays the same object. */
  get rows(): readonly R[] {
    return this.state.rows
  }

  /** Whether there are no rows to show yet. */
  get loading(): boolean {
    return this.state.loading
  }

  /** Whether the rows are of an earlier moment. */
  get stale(): boolean {
    return this.state.stale
  }

  /** Why there are no rows, or no new ones. */
  get error(): AerostackError | null {
    return this.state.error
  }

  /** Call `listener` after every change, while open. Returns a function that stops it. */
  subscribe(listener: (state: TableState<R>) => void): () => void {
    const each = (state: TableState<R>) => listener(state)
    this.#listeners.set(each, this.#listen(each))
    return () => {
      this.#listeners.get(each)?.()
      this.#listeners.delete(each)
    }
  }

  /** Keep the rows up to date. Idempotent. */
  open(): this {
    if (this.#shared) return this
    const tables = clients.get(this.#client) ?? new Map<string, Shared>()
    clients.set(this.#client, tables)
    const shared = tables.get(this.#name) ?? { store: this.#store(), users: 0 }
    tables.set(this.#name, shared)
    shared.users++
    this.#shared = shared
    for (const each of this.#listeners.keys()) this.#listeners.set(each, this.#listen(each))
    return this
  }

  /** Stop, unless a table with the same options opens within the same tick. Idempotent. */
  close(): void {
    const shared = this.#shared
    if (!shared) return
    for (const stop of this.#listeners.values()) stop()
    this.#last = { ...this.state, stale: true }
    this.#shared = undefined
    shared.users--
    queueMicrotask(() => {
      const tables = clients.get(this.#client)
      if (shared.users || tables?.get(this.#name) !== shared) return
      tables.delete(this.#name)
      shared.store.close()
    })
  }

  #store(): Store<AnyRow> {
    return new Store<AnyRow>(this.#client, this.#topic, this.#options)
  }

  #listen(each: (state: TableState<R>) => void): () => void {
    return this.#shared?.store.listen(each as (state: TableState<AnyRow>) => void) ?? (() => {})
  }
}
