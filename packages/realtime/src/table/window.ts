/** The rows of a view as pure state: all of them, or the first few of an order and some in reserve. */
import { AerostackError, type Operation } from 'aerostack-realtime'
import { Order } from './order.js'

/** A row of any table. */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
export type AnyRow = Record<string, any>

export interface Change<R> {
  operation: Operation
  data: R
  old?: R
}

export interface WindowOptions {
  order: string | undefined
  limit: number | undefined
  /** The columns that identify a row. */
  key: readonly string[]
}

/** The most rows that a snapshot with a limit may have (docs/protocol.md §6). */
const SERVER_LIMIT = 10_000

/**
 * With a limit, `held` are the first rows of the view: all rows up to `bound`, the last row of the snapshot. Rows
 * beyond it are unknown. When too many of the held rows have left, a new snapshot is necessary.
 *
 * After a method has returned false, the window is unusable until the next `load`.
 */
export class Window<R extends AnyRow> {
  /** How many rows to request: more than the limit, so that a row that leaves is replaced at once. */
  readonly size: number | undefined
  readonly #options: WindowOptions
  readonly #order: Order | undefined
  readonly #known = new Map<string, R>()
  #held: R[] = []
  #bound: R | undefined

  constructor(options: WindowOptions) {
    const { order, limit, key } = options
    this.#options = options
    if (order || limit !== undefined) this.#order = new Order(order, key)
    if (limit !== undefined) this.size = Math.max(limit, Math.min(limit + reserve(limit), SERVER_LIMIT))
  }

  /** The rows to show, a new array. */
  get rows(): readonly R[] {
    return this.#held.slice(0, this.#options.limit)
  }

  /** Start with a snapshot. Equal rows of `before` are kept as objects. Throws AerostackError. */
  load(rows: readonly R[], before: readonly R[]): void {
    const shown = new Map(before.map((row) => [this.#name(row), row]))
    this.#order?.learn(rows)
    this.#known.clear()
    this.#held = rows.map((row) => kept(shown.get(this.#name(row)), row))
    for (const row of this.#held) this.#known.set(this.#name(row), row)
    if (this.#known.size < rows.length)
      throw this.#nameless('Several rows have the same %: pass the primary key as `key`.')
    this.#bound = rows.length === this.size ? this.#held.at(-1) : undefined
  }

  /** Whether keys are still unique after a change. If not, a new snapshot is necessary. Throws AerostackError. */
  fits({ operation, data, old }: Change<R>): boolean {
    const renamed = operation === 'INSERT' || (old && this.#name(old) !== this.#name(data))
    return !renamed || !this.#known.has(this.#name(data))
  }

  /** Apply a change. Returns false when the place of the row is not certain. Throws AerostackError. */
  apply({ operation, data, old = data }: Change<R>): boolean {
    const known = this.#known.get(this.#name(old)) ?? this.#known.get(this.#name(data))
    const at = known ? this.#held.indexOf(known) : -1
    if (known) {
      this.#known.delete(this.#name(known))
      this.#held.splice(at, 1)
    }
    if (operation === 'DELETE') return true
    const row = kept(known, data)
    const place = this.#place(row, at)
    if (place === undefined) return false
    if (place < 0) return true
    this.#known.set(this.#name(row), row)
    this.#held.splice(place, 0, row)
    return true
  }

  /** Call after changes. Forgets rows beyond the reserve. Returns false when rows are missing. */
  settle(): boolean {
    const { limit } = this.#options
    if (limit === undefined || this.size === undefined) return true
    if (this.#held.length > 2 * this.size) {
      for (const row of this.#held.splice(this.size)) this.#known.delete(this.#name(row))
      this.#bound = this.#held.at(-1)
    }
    return !this.#bound || this.#held.length >= limit
  }

  /** The index for a row that was at `before`: -1 when it is beyond the bound, undefined when it is not certain. */
  #place(row: R, before: number): number | undefined {
    const order = this.#order
    if (!order) return before < 0 ? this.#held.length : before
    const compare = (other: R) => order.compare(row, other, this.size === undefined)
    const beyond = this.#bound ? compare(this.#bound) : 0
    if (beyond === undefined) return undefined
    if (beyond > 0) return -1
    let [low, high] = [0, this.#held.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const verdict = compare(this.#held[middle] as R)
      if (verdict === undefined) return undefined
      if (verdict < 0) high = middle
      else low = middle + 1
    }
    return low
  }

  #name(row: R): string {
    const { key } = this.#options
    const values = key.map((column) => row[column])
    if (values.includes(undefined))
      throw this.#nameless('The rows have no column %: pass the primary key as `key`.')
    return JSON.stringify(values)
  }

  #nameless(why: string): AerostackError {
    return new AerostackError('unsupported', why.replace('%', String(this.#options.key)))
  }
}

function reserve(limit: number): number {
  return Math.max(5, Math.ceil(limit / 2))
}

/** `before` if it is equal to `row`, so that a row that did not change stays the same object. */
function kept<R>(before: R | undefined, row: R): R {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(row) ? before : row
}
