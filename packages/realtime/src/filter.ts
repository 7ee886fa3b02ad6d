/** A filter makes a view of a table: which rows a subscriber sees, and what a change of a row is to it. */
import { type Kinds, meaning } from './kinds.js'
import type { Filter, Operation, Row } from './protocol.js'

/** Whether `row` is in the view. A comparison with NULL never holds, except `eq` and `ne` with null itself. */
export function matches(filter: Filter, row: Row, kinds: Kinds = {}): boolean {
  return Object.entries(filter).every(([column, condition]) => {
    const kind = kinds[column]
    const value = meaning(row[column], kind)
    const operators = condition !== null && typeof condition === 'object' ? condition : { eq: condition }
    return Object.entries(operators).every(([op, wanted]) =>
      op === 'in'
        ? (wanted as readonly unknown[]).some((each) => meaning(each, kind, true) === value)
        : holds(op, value, meaning(wanted, kind, true)),
    )
  })
}

function holds(op: string, value: string, wanted: string): boolean {
  if (op === 'ne') return value !== wanted
  if (value === wanted) return op[2] !== undefined ? !!value : op === 'eq'
  return value[0] === wanted[0] && (op[0] === 'l' ? value < wanted : op[0] === 'g' && value > wanted)
}

export interface Change {
  operation: Operation
  data: Row
  old?: Row
}

/**
 * What a change of the table is in the view of `filter`: a row that moves in is an INSERT, one that moves out a
 * DELETE of the old row, and undefined is nothing at all.
 */
export function seen<C extends Change>(filter: Filter, change: C, kinds?: Kinds): C | undefined {
  const { operation, data, old } = change
  const now = operation !== 'DELETE' && matches(filter, data, kinds)
  const before = operation !== 'INSERT' && matches(filter, old ?? data, kinds)
  if (now && before) return change
  if (now) {
    const { old: _, ...insert } = change
    return { ...insert, operation: 'INSERT' } as C
  }
  if (before) return { ...change, operation: 'DELETE', data: old ?? data, old: old ?? data }
  return undefined
}
