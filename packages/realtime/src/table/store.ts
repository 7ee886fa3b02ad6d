/** Keeps the rows of one view up to date: a snapshot, then its changes, and a new snapshot when that is not enough. */
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

/** The state of a live table. It is immutable: whenever anything changes, another object replaces it. */
export interface TableState<R> {
  /** The rows of the view at one moment, never a mixture of two moments. */
  readonly rows: readonly R[]
  /** Whether there are no rows to show yet. */
  readonly loading: boolean
  /** Whether the rows are of an earlier moment: the client is disconnected, or waits for missing rows. */
  readonly stale: boolean
  /** Why there are no rows, or no new ones. */
  readonly error: AerostackError | null
}

export interface StoreOptions<R> extends WindowOptions {
  filter: Filter | undefined
  slow: ChannelOptions['slow']
  initial: readonly R[] | undefined
}

/** Errors reach the store by `failed`. */
const IGNORED = { resolve() {}, reject() {} }

/** One view of a table, shared by all live tables with the same options. A subscriber of the table's topic. */
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
  /** The parts of the snapshot that have arrived, and the id of its request. */
  #incoming: { id: string | undefined; rows: R[] } | undefined
  /** The cursor of the snapshot. */
  #cursor: string | undefined
  /** The changes since the snapshot was requested, until it is certain which of them it contains already. */
  #meanwhile: Change<R>[] | undefined
  /** Increases with everything that makes an earlier wait obsolete. */
  #turn = 0

  constructor(client: Client, topic: string, options: StoreOptions<R>) {
    const { filter, order, limit, key, slow, initial } = options
    this.#client = client
    this.#topic = topic
    this.filter = filter
    this.policy = { slow, key: slow === 'latest' ? key : undefined }
    this.#window = new Window(options)
    this.state = { rows: initial ?? [], loading: !initial, stale: true, error: null }
    // Without an order, a limit means the first rows by key, which need not be the table's primary key.
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

  // --- called by the subscription ------------------------------------------------------------------------

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
   * Everything after the subscription's cursor follows. If that is the cursor of the snapshot, the rows are complete.
   * Otherwise changes that the snapshot contains already come first. Each carries the whole row, so it is harmless to
   * apply them again once the last of them has arrived, which is certain when the server has answered a later request.
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

  /** A refused subscriber is detached. Every new connection is another chance. */
  #status(status: Status): void {
    if (status !== 'connected') this.#set({ stale: true })
    else if (this.wants) this.#attach()
  }

  #attach(): void {
    if (!this.#closed) this.#client.internals.subscriptions.attach(this.#topic, this, IGNORED)
  }

  /** Request a new snapshot. The rows stay as they are until it arrives. */
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

  /** `again`: the snapshot may contain some of the changes already. */
  #apply(changes: readonly Change<R>[], so: Partial<TableState<R>> = {}, again = false): void {
    this.#attempt(() => {
      const fits = (change: Change<R>) => (again || this.#window.fits(change)) && this.#window.apply(change)
      if (!changes.every(fits) || !this.#window.settle()) this.#reload()
      else this.#set({ ...so, rows: this.#window.rows })
    })
  }

  /** Run a step that fails for rows without a unique key. */
  #attempt(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.close()
      this.failed(this.#wrapped(error, 'internal'))
    }
  }

  #notify(listener: (state: TableState<R>) => void): void {
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
    for (const listener of [...this.#listeners]) this.#notify(listener)
  }
}

function equal(some: readonly unknown[], others: readonly unknown[]): boolean {
  return (
    some === others || (some.length === others.length && some.every((each, index) => each === others[index]))
  )
}
