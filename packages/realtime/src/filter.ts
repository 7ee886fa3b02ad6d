/** A filter makes a view of a table: it decides which rows a subscriber sees and what a row change means to it. */
import { type ColumnTypes, type Comparable, comparable, comparableOfFilter } from './column-types.js'
import type { Filter, Operation, Row } from './protocol.js'
import type { Subscriber } from './subscription.js'

/** All but `in`, which is `eq` with one of several values. */
type Operator = 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte'

/** Whether `row` is in the view. Order comparisons with NULL never hold; `eq` and `ne` accept null itself. */
export function matches(filter: Filter, row: Row, types: ColumnTypes = {}): boolean {
  return Object.entries(filter).every(([column, condition]) => {
    const type = types[column]
    const value = comparable(row[column], type)
    const operators = condition !== null && typeof condition === 'object' ? condition : { eq: condition }
    return Object.entries(operators).every(([operator, wanted]) =>
      operator === 'in'
        ? (wanted as readonly unknown[]).some((each) => holds('eq', value, comparableOfFilter(each, type)))
        : holds(operator as Operator, value, comparableOfFilter(wanted, type)),
    )
  })
}

function holds(operator: Operator, value: Comparable, wanted: Comparable): boolean {
  const order = compare(value, wanted)
  const ordered = order !== undefined && value.group !== 'null'
  switch (operator) {
    case 'eq':
      return order === 0
    case 'ne':
      return order !== 0
    case 'lt':
      return ordered && order < 0
    case 'lte':
      return ordered && order <= 0
    case 'gt':
      return ordered && order > 0
    case 'gte':
      return ordered && order >= 0
    default:
      operator satisfies never // the server refuses it
      return false
  }
}

/** Negative, zero or positive; undefined when the two cannot be compared. */
function compare(one: Comparable, other: Comparable): number | undefined {
  if (one.group !== other.group || one.group === 'other') return undefined
  if (one.key === other.key) return 0
  return one.key < other.key ? -1 : 1
}

export interface Change {
  operation: Operation
  data: Row
  old?: Row
}

/**
 * What a change of the table means in the view of `filter`: a row that moves in is an INSERT, one that moves out is
 * a DELETE of the old row. Undefined when the view does not change.
 */
export function changeInView<C extends Change>(
  filter: Filter,
  change: C,
  types?: ColumnTypes,
): C | undefined {
  const { operation, data, old } = change
  const now = operation !== 'DELETE' && matches(filter, data, types)
  const before = operation !== 'INSERT' && matches(filter, old ?? data, types)
  if (now && before) return change
  if (now) {
    const { old: _, ...insert } = change
    return { ...insert, operation: 'INSERT' } as C
  }
  if (before) return { ...change, operation: 'DELETE', data: old ?? data, old: old ?? data }
  return undefined
}

/** One of the subscribers of a topic whose filter the server has to see, because it will not be a part of a request. */
export function unseen(subscribers: readonly Subscriber[]): Subscriber | undefined {
  if (new Set(subscribers.map(({ filter }) => JSON.stringify(filter))).size < 2) return undefined
  const accepted = new Set(subscribers.filter((each) => each.accepted).map(shape))
  return subscribers.find((each) => each.filter && !accepted.has(shape(each)))
}

/** The columns, operators and types of values of a filter: all that the server accepts or refuses. */
function shape({ filter }: Subscriber): string | undefined {
  return JSON.stringify(filter, (_, value) => (Object(value) === value ? value : typeof value))
}
