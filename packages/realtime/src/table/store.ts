/** The rows of one view kept live: a snapshot, then its changes, and a new snapshot when that is not enough. */
import {
  AerostackError,
  type ChannelOptions,
  type Client,
  type Filter,
  type Status,
} from 'aerostack-realtime'
import type { Slow, SnapshotFrame, SnapshotRequest } from '../protocol.js'
import type { Subscriber } from '../subscription.js'
import { type AnyRow, type Change, Window, type WindowOptions } from './window.js'

export type { AnyRow }

/** Never changed, but replaced by another whenever anything in it is different. */
export interface TableState<R> {
  /** What the view held at one moment, never a mixture of two. */
  readonly rows: readonly R[]
  /** There are no rows yet to show. */
  readonly loading: boolean
  /** The rows are of an earlier moment: away from the server, or waiting for rows that are missing. */
  readonly stale: boolean
  readonly error: AerostackError | null
}

export interface StoreOptions<R> extends WindowOptions {
  filter: Filter | undefined
  slow: ChannelOptions['slow']
  initial: readonly R[] | undefined
}

const NOTHING = { resolve() {}, reject() {} }

/** One view of a table, shared by all that want the same. It is a subscriber of the table's topic. */
export class Store<R extends AnyRow> implements Subscriber {
  state: TableState<R>
  wants: SnapshotRequest | undefined
  readonly filter: Filter | undefined
  readonly presence = false
  readonly since: undefined
  readonly policy: Slow
  readonly #client: Client
  readonly #topic: string
  readonly #window: Window<R>
  readonly #request: SnapshotRequest
  readonly #listeners = new Set<(state: TableState<R>) => void>()
  readonly #stop: () => void
  #closed = false
  /** The parts of the snapshot that is coming in, by the id of what asked for it. */
  #incoming: { id: string | undefined; rows: R[] } | undefined
  /** Where the snapshot stands. */
  #cursor: string | undefined
  /** The changes since it was asked for, some of which it has already; until it is known to have all of those. */
  #meanwhile: Change<R>[] | undefined
  /** Raised with whatever makes an earlier wait void. */
  #turn = 0

  constructor(client: Client, topic: string, options: StoreOptions<R>) {
    const { filter, order, limit, key, slow, initial } = options
    this.#client = client
    this.#topic = topic
    this.filter = filter
    this.policy = { slow, key: slow === 'latest' ? key : undefined }
    this.#window = new Window(options)
    this.state = { rows: initial ?? [], loading: !initial, stale: true, error: null }
    // Without an order the first rows are those by key, which need not be the table's primary key.
    const by = order || (limit !== undefined ? key[0] : undefined)
    this.#request = by ? { order: by, limit: this.#window.size } : true
    this.wants = this.#request
    this.#attach()
    this.#stop = client.onStatusChange((status) => this.#status(status))
  }

  listen(listener: (state: TableState<R>) => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  close(): void {
    this.#closed = true
    this.#stop()
    this.#client.internals.subscriptions.detach(this.#topic, this)
  }

  // --- what its subscription tells -----------------------------------------------------------------------

  load({ id, rows, cursor, last }: SnapshotFrame): void {
    if (this.#incoming?.id !== id) this.#incoming = { id, rows: [] }
    for (const row of rows) this.#incoming?.rows.push(row as R)
    if (!last) return
    this.#attempt(() => this.#window.load(this.#incoming?.rows ?? [], this.state.rows))
    this.#incoming = undefined
    this.#cursor = cursor
    this.#meanwhile = []
    this.wants = undefined
  }

  /**
   * Everything after the subscription's cursor follows. When that is where the snapshot stands, the rows are there.
   * Otherwise changes that the snapshot has already come first. Each brings the whole row, so applying them again
   * does no harm once the last of them has come; which is certain when the server has answered a later question.
   */
  live(): void {
    if (this.wants) return
    const { request, subscriptions } = this.#client.internals
    const subscription = subscriptions.get(this.#topic)
    const turn = ++this.#turn
    const answered = () => {
      if (turn === this.#turn && subscription?.state === 'live') this.#complete()
    }
    if (this.#meanwhile && subscription?.cursor === this.#cursor) this.#complete()
    else request({ type: 'presence', topic: this.#topic }).then(answered, answered)
  }

  deliver({ event, operation, data, old }: Partial<Change<R>> & { event?: string }): undefined {
    if (event === 'gap') this.#reload()
    if (!operation || this.wants) return
    const change = { operation, data: data as R, old }
    if (this.#meanwhile) this.#meanwhile.push(change)
    else this.#apply([change])
  }

  failed(error: AerostackError): void {
    this.#set({ error, stale: true, loading: this.state.loading && error.retryable })
  }

  // --- inside --------------------------------------------------------------------------------------------

  /** Who is refused is let go; every connection is another chance. */
  #status(status: Status): void {
    if (status !== 'connected') this.#set({ stale: true })
    else if (this.wants) this.#attach()
  }

  #attach(): void {
    if (!this.#closed) this.#client.internals.subscriptions.attach(this.#topic, this, NOTHING)
  }

  /** The rows stay as they are until a new snapshot is there. */
  #reload(): void {
    this.wants = this.#request
    this.#turn++
    this.#set({ stale: true })
    queueMicrotask(() => this.#attach())
  }

  #complete(): void {
    const meanwhile = this.#meanwhile ?? []
    this.#meanwhile = undefined
    this.#apply(meanwhile, { loading: false, stale: false, error: null }, true)
  }

  /** `again`: the snapshot may have some of the changes already. */
  #apply(changes: readonly Change<R>[], so: Partial<TableState<R>> = {}, again = false): void {
    this.#attempt(() => {
      const fits = (change: Change<R>) => (again || this.#window.fits(change)) && this.#window.apply(change)
      if (!changes.every(fits) || !this.#window.settle()) this.#reload()
      else this.#set({ ...so, rows: this.#window.rows })
    })
  }

  /** Do what rows may be unfit for. */
  #attempt(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.close()
      this.failed(this.#wrapped(error, 'internal'))
    }
  }

  #tell(listener: (state: TableState<R>) => void): void {
    try {
      listener(this.state)
    } catch (error) {
      this.#client.internals.failed(this.#wrapped(error, 'listener'))
    }
  }

  #wrapped(error: unknown, code: string): AerostackError {
    if (error instanceof AerostackError) return error
    return new AerostackError(code, String(error), false, this.#topic, error)
  }

  #set(change: Partial<TableState<R>>): void {
    const before = this.state
    const state = { ...before, ...change }
    if (equal(state.rows, before.rows)) state.rows = before.rows
    if ((Object.keys(state) as (keyof TableState<R>)[]).every((name) => state[name] === before[name])) return
    this.state = state
    for (const listener of [...this.#listeners]) this.#tell(listener)
  }
}

function equal(some: readonly unknown[], others: readonly unknown[]): boolean {
  return (
    some === others || (some.length === others.length && some.every((each, index) => each === others[index]))
  )
}
