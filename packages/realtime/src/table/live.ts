import { AerostackError, type ChannelOptions, type Client, type Filter } from 'aerostack-realtime'
import { Store, type StoreOptions, type TableState } from './store.js'
import type { AnyRow } from './window.js'

type Column<R> = keyof NoInfer<R> & string

export interface TableOptions<R = AnyRow> {
  /** See the table as the view of these conditions. */
  filter?: Filter
  /** `'column'`, or `'-column'` for the largest first. Without it: as the server gives them, new rows last. */
  order?: Column<R> | `-${Column<R>}`
  /** The first so many of the order, at most 10,000. */
  limit?: number
  /** The columns that name a row; its primary key. Default `id`. */
  key?: Column<R> | readonly Column<R>[]
  /** What the server does while this client does not keep up: `latest` skips what a row was in between. */
  slow?: ChannelOptions['slow']
  /** Rows to begin with, e.g. those the page was rendered with. */
  initial?: readonly R[]
}

/** What the tables of one client share: by what is wanted, the store and how many want it. */
interface Shared {
  store: Store<AnyRow>
  users: number
}
const clients = new WeakMap<Client, Map<string, Shared>>()

/**
 * The rows of a table, or of a view of it, kept equal to what the database holds. Tables of one client with the
 * same options share one.
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

/** A handle on live rows: they are, while it is open. */
export class LiveTable<R extends AnyRow = AnyRow> {
  readonly #client: Client
  readonly #topic: string
  readonly #options: StoreOptions<R>
  readonly #name: string
  /** How it was when it was closed. */
  #last: TableState<R>
  readonly #listeners = new Map<(state: TableState<R>) => void, () => void>()
  #shared: Shared | undefined

  /** Makes a handle that is not open yet. */
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

  /** The rows and how they are, as one immutable object: another one whenever anything changed. */
  get state(): TableState<R> {
    const shared = this.#shared ?? clients.get(this.#client)?.get(this.#name)
    return (shared?.store.state as TableState<R> | undefined) ?? this.#last
  }

  /** A new array whenever they change; a row that did not change is the same object. */
  get rows(): readonly R[] {
    return this.state.rows
  }

  get loading(): boolean {
    return this.state.loading
  }

  get stale(): boolean {
    return this.state.stale
  }

  get error(): AerostackError | null {
    return this.state.error
  }

  /** Call `listener` after every change, while open; returns how to stop. */
  subscribe(listener: (state: TableState<R>) => void): () => void {
    const each = (state: TableState<R>) => listener(state)
    this.#listeners.set(each, this.#listen(each))
    return () => {
      this.#listeners.get(each)?.()
      this.#listeners.delete(each)
    }
  }

  /** Make the rows live. Idempotent. */
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

  /** Let go of the rows, unless another of the same options is opened within the same tick. Idempotent. */
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
