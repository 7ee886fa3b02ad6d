/** Rows kept by key, as pure state: what a row does not change keeps its identity. */
import type { Operation } from 'aerostack-realtime'

// biome-ignore lint/suspicious/noExplicitAny: rows are what the app says they are
export type AnyRow = Record<string, any>

export interface Change<R> {
  operation: Operation
  data: R
}

/**
 * `rows` after `change`: an INSERT or UPDATE puts the row in its place or at the end, a DELETE takes it out. The
 * same array when nothing changed.
 */
export function applied<R extends AnyRow>(rows: readonly R[], change: Change<R>, key: string): readonly R[] {
  const at = rows.findIndex((row) => row[key] === change.data[key])
  if (change.operation === 'DELETE') return at < 0 ? rows : rows.filter((_, index) => index !== at)
  return at < 0 ? [...rows, change.data] : rows.map((row, index) => (index === at ? change.data : row))
}

/** `loaded` with those rows of `rows` in it that are equal, so that lists render only what changed. */
export function merged<R extends AnyRow>(
  rows: readonly R[],
  loaded: readonly R[],
  key: string,
): readonly R[] {
  const known = new Map(rows.map((row) => [row[key], row]))
  return loaded.map((row) => {
    const before = known.get(row[key])
    return before && JSON.stringify(before) === JSON.stringify(row) ? before : row
  })
}
