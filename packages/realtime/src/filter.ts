/** A filter makes a view of a table: which rows a subscriber sees, and what a change of a row is to it. */
import type { Filter, Operation, Row } from './protocol.js'

/** Whether `row` is in the view. A comparison with NULL never holds, except `eq` and `ne` with null itself. */
export function matches(filter: Filter, row: Row): boolean {
  return Object.entries(filter).every(([column, condition]) => {
    const value = row[column] ?? null
    const operators = condition !== null && typeof condition === 'object' ? condition : { eq: condition }
    return Object.entries(operators).every(([op, wanted]) => holds(op, value, wanted))
  })
}

// biome-ignore lint/suspicious/noExplicitAny: < and > compare numbers and strings alike
function holds(op: string, value: any, wanted: any): boolean {
  if (op === 'in') return wanted.some((each: unknown) => same(value, each))
  if (op === 'ne') return !same(value, wanted)
  if (op === 'eq') return same(value, wanted)
  if (value === null || typeof value !== typeof wanted) return false
  return (op[2] === 'e' && value === wanted) || (op[0] === 'l' ? value < wanted : value > wanted)
}

/** SQLite keeps a boolean as 0 or 1, so `{done: true}` must find both. */
function same(value: unknown, wanted: unknown): boolean {
  return value === wanted || (typeof wanted === 'boolean' && value === Number(wanted))
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
export function seen<C extends Change>(filter: Filter, change: C): C | undefined {
  const { operation, data, old } = change
  const now = operation !== 'DELETE' && matches(filter, data)
  const before = operation !== 'INSERT' && matches(filter, old ?? data)
  if (now && before) return change
  if (now) {
    const { old: _, ...insert } = change
    return { ...insert, operation: 'INSERT' } as C
  }
  if (before) return { ...change, operation: 'DELETE', data: old ?? data, old: old ?? data }
  return undefined
}
