import { AerostackError, type Filter, type RealtimePayload } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { useHandle } from './channel.js'
import { type AnyRow, applied, type Change, merged } from './rows.js'

export interface TableOptions<R> {
  /** See the table as the view of these conditions. */
  filter?: Filter
  /** The column that names a row. Default `id`. */
  key?: string
  /** Rows to begin with, e.g. those the page was rendered with. */
  initial?: readonly R[]
  /** Fetch the view's rows; called when delivery is certain, and again after a gap. */
  load?: () => Promise<readonly R[]>
}

export interface Table<R> {
  rows: readonly R[]
  /** The rows are not all there yet. */
  loading: boolean
  error: AerostackError | null
}

/** The rows of one view: loaded, then kept live. Changes that come while loading are applied to what is loaded. */
class TableStore<R extends AnyRow> {
  table: Table<R>
  readonly #key: string
  readonly #changed = new Set<() => void>()
  #meanwhile: Change<R>[] | undefined
  #loading = 0

  constructor(key: string, initial: readonly R[] | undefined, loads: boolean) {
    this.#key = key
    this.table = { rows: initial ?? [], loading: loads && !initial, error: null }
  }

  readonly subscribe = (changed: () => void): (() => void) => {
    this.#changed.add(changed)
    return () => {
      this.#changed.delete(changed)
    }
  }

  change(change: Change<R>): void {
    this.#meanwhile?.push(change)
    const rows = applied(this.table.rows, change, this.#key)
    if (rows !== this.table.rows) this.#set({ rows })
  }

  async load(load: () => Promise<readonly R[]>): Promise<void> {
    const turn = ++this.#loading
    const meanwhile: Change<R>[] = []
    this.#meanwhile = meanwhile
    try {
      const loaded = await load()
      if (turn !== this.#loading) return
      const rows = meanwhile.reduce((rows, change) => applied(rows, change, this.#key), loaded)
      this.#set({ rows: merged(this.table.rows, rows, this.#key), loading: false, error: null })
    } catch (error) {
      if (turn === this.#loading) this.fail(error)
    }
    if (turn === this.#loading) this.#meanwhile = undefined
  }

  fail(error: unknown): void {
    const known = error instanceof AerostackError
    this.#set({ loading: false, error: known ? error : new AerostackError('internal', String(error)) })
  }

  #set(change: Partial<Table<R>>): void {
    this.table = { ...this.table, ...change }
    for (const changed of [...this.#changed]) changed()
  }
}

/** The rows of `table`, kept live while mounted. A row that did not change keeps its identity. */
export function useTable<R extends AnyRow = AnyRow>(table: string, options: TableOptions<R> = {}): Table<R> {
  const { filter, key = 'id', initial, load } = options
  const channel = useHandle(table, filter && { filter })
  const latest = useRef({ initial, load })
  useEffect(() => {
    latest.current = { initial, load }
  })
  const loads = load !== undefined
  // biome-ignore lint/correctness/useExhaustiveDependencies: another view is another store; `initial` is its beginning only
  const store = useMemo(() => new TableStore<R>(key, initial, loads), [channel, key, loads])
  useEffect(() => {
    let mounted = true
    const reload = () => {
      const { load } = latest.current
      if (load && mounted) store.load(load)
    }
    const change = (payload: RealtimePayload) => {
      if (payload.operation) store.change({ operation: payload.operation, data: payload.data })
    }
    channel
      .on('*', change)
      .on('gap', reload)
      .subscribe()
      .then(reload, (error) => store.fail(error))
    return () => {
      mounted = false
      channel.unsubscribe()
    }
  }, [channel, store])
  const snapshot = useCallback(() => store.table, [store])
  return useSyncExternalStore(store.subscribe, snapshot, snapshot)
}
