import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { ColumnTypes } from '../../src/column-types.js'
import { changeInView, matches } from '../../src/filter.js'
import type { Filter, Row } from '../../src/protocol.js'

const row = { id: 1, status: 'open', total: 50, done: 1, note: null }

describe('a row is in the view', () => {
  const cases: [Filter, boolean][] = [
    [{}, true],
    [{ status: 'open' }, true],
    [{ status: 'paid' }, false],
    [{ status: 'open', total: 51 }, false],
    [{ status: { eq: 'open' } }, true],
    [{ status: { ne: 'open' } }, false],
    [{ total: { gt: 49, lt: 51 } }, true],
    [{ total: { gte: 50, lte: 50 } }, true],
    [{ total: { gt: 50 } }, false],
    [{ total: { lt: 50 } }, false],
    [{ total: { gt: '49' } }, false],
    [{ status: { in: ['open', 'paid'] } }, true],
    [{ status: { in: [] } }, false],
    [{ note: null }, true],
    [{ note: { ne: null } }, false],
    [{ note: { lt: 1 } }, false],
    [{ note: { ne: 'x' } }, true],
    [{ missing: null }, true],
    [{ done: true }, true],
    [{ done: false }, false],
  ]
  test.each(cases)('of %j: %s', (filter, expected) => {
    expect(matches(filter, row)).toBe(expected)
  })
})

interface Compared {
  columnTypes: ColumnTypes
  rows: Row[]
  filters: { filter: Filter; shown: number[]; untyped?: number[] }[]
}

describe('the rows in the view are those that the server shows', () => {
  const spec = new URL('../../../../spec/filters.json', import.meta.url)
  const { columnTypes, rows, filters }: Compared = JSON.parse(readFileSync(spec, 'utf8'))
  const shown = (filter: Filter, by?: ColumnTypes) =>
    rows.filter((row) => matches(filter, row, by)).map(({ id }) => id)

  test.each(filters)('of $filter', ({ filter, shown: typed, untyped = typed }) => {
    expect(shown(filter, columnTypes)).toEqual(typed)
    expect(shown(filter)).toEqual(untyped)
  })
})

describe('a change in a view', () => {
  const open = { id: 1, status: 'open' }
  const paid = { id: 1, status: 'paid' }
  const filter = { status: 'open' }

  test('a row that moves in is an INSERT', () => {
    expect(changeInView(filter, { operation: 'UPDATE', data: open, old: paid })).toEqual({
      operation: 'INSERT',
      data: open,
    })
  })
  test('a row that moves out is a DELETE of the old row', () => {
    expect(changeInView(filter, { operation: 'UPDATE', data: paid, old: open })).toEqual({
      operation: 'DELETE',
      data: open,
      old: open,
    })
  })
  test('a row that stays is an UPDATE', () => {
    const change = { operation: 'UPDATE', data: { ...open, total: 2 }, old: open } as const
    expect(changeInView(filter, change)).toBe(change)
  })
  test('a row outside of the view changes nothing', () => {
    expect(changeInView(filter, { operation: 'UPDATE', data: paid, old: paid })).toBeUndefined()
    expect(changeInView(filter, { operation: 'INSERT', data: paid })).toBeUndefined()
    expect(changeInView(filter, { operation: 'DELETE', data: paid, old: paid })).toBeUndefined()
  })
  test('INSERT and DELETE of a row in the view stay the same', () => {
    expect(changeInView(filter, { operation: 'INSERT', data: open })).toEqual({
      operation: 'INSERT',
      data: open,
    })
    expect(changeInView(filter, { operation: 'DELETE', data: open, old: open })?.operation).toBe('DELETE')
  })
})
