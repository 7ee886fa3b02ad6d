import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type LiveTable, liveTable, type TableOptions } from '../../src/table/index.js'
import { Database, type View } from '../support/database.js'
import { type Bench, connected, settled } from '../support/network.js'

const TOPIC = 'table/items/default'
const VIEWS: View[] = [
  {},
  { filter: { kind: 'a' } },
  { order: '-n', limit: 2 },
  { order: 's', limit: 3, filter: { n: { gte: 1 } } },
  { order: 's' },
  { limit: 2 },
]

const row = fc.record({
  id: fc.integer({ min: 1, max: 30 }),
  kind: fc.constantFrom('a', 'b'),
  n: fc.constantFrom(null, 0, 1, 2, 3),
  s: fc.constantFrom(null, '', 'a', 'A', 'b', 'B', 'ab', 'é', '\u{1f600}', '\uffee'),
})
type Row = typeof row extends fc.Arbitrary<infer R> ? R : never
const view = fc.nat({ max: VIEWS.length - 1 })
const at = fc.nat({ max: 1000 })
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('put' as const), row }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('delete' as const), id: fc.integer({ min: 1, max: 30 }) }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('handle' as const) }) },
  {
    weight: 14,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('delete first' as const),
      view,
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restore' as const), at }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('open' as const), view }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), at }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** A table whose rows must be the result of a SELECT at one moment, and the moments must only advance. */
class Watched {
  readonly table: LiveTable
  readonly #view: View
  readonly #database: Database
  #version = 0

  constructor(made: Bench, database: Database, view: View) {
    this.table = liveTable(made.client, 'items', view as TableOptions)
    this.#view = view
    this.#database = database
    this.table.subscribe(() => this.check())
  }

  check(): void {
    const { rows, loading } = this.table
    if (loading) return
    const shown = JSON.stringify(this.#inAnyOrder(rows))
    while (JSON.stringify(this.#inAnyOrder(this.#database.select(this.#view, this.#version))) !== shown)
      if (++this.#version > this.#database.now)
        throw new Error(`${JSON.stringify(this.#view)} never gave ${shown} (again)`)
  }

  /** Check that every change has arrived. */
  checkNow(): void {
    const { rows, loading, stale, error } = this.table
    expect({ loading, stale, error }).toEqual({ loading: false, stale: false, error: null })
    expect(this.#inAnyOrder(rows)).toEqual(this.#inAnyOrder(this.#database.select(this.#view)))
  }

  /** Rows without an order are compared in any order. */
  #inAnyOrder(rows: readonly Record<string, unknown>[]): readonly Record<string, unknown>[] {
    if (this.#view.order || this.#view.limit) return rows
    return rows.toSorted((one, other) => (one.id as number) - (other.id as number))
  }
}

async function run(
  collation: 'binary' | 'nocase',
  before: Row[],
  first: number[],
  steps: Step[],
): Promise<void> {
  const failures: Error[] = []
  const made = await connected({ onError: (error) => failures.push(error) })
  const database = new Database(TOPIC, collation)
  for (const each of before) database.put(each)
  const tables = first.map((view) => new Watched(made, database, VIEWS[view] as View))
  const heard: (string | undefined)[] = []
  const channel = made.client.channel('items').on('*', ({ event, cursor }) => heard.push(event ?? cursor))
  if (first.length % 2) channel.subscribe()
  for (const each of steps) {
    if (each.do === 'put') database.put(each.row)
    else if (each.do === 'delete') database.delete(each.id)
    else if (each.do === 'delete first')
      for (const { id } of database.select(VIEWS[each.view] as View).slice(0, each.count))
        database.delete(id as number)
    else if (each.do === 'handle') database.handle(made.socket)
    else if (each.do === 'deliver') for (let i = 0; i < each.count; i++) database.deliver()
    else if (each.do === 'forget') database.forget()
    else if (each.do === 'restore') database.restore(each.at % database.versions.length)
    else if (each.do === 'open') tables.push(new Watched(made, database, VIEWS[each.view] as View))
    else if (each.do === 'close')
      for (const { table } of tables.splice(each.at % (tables.length + 1), 1)) table.close()
    else {
      database.cut(made.socket)
      await made.clock.pass(1_000)
      made.socket.accept()
    }
    await settled()
    for (const table of tables) table.check()
  }
  do await settled()
  while (database.handle(made.socket) || database.deliver())
  expect(failures).toEqual([])
  for (const table of tables) table.checkNow()
  expect(new Set(heard.filter((each) => each !== 'gap')).size).toBe(
    heard.filter((each) => each !== 'gap').length,
  )
}

test('at every moment the rows are the result of a SELECT', { timeout: 60_000 }, () =>
  fc.assert(
    fc.asyncProperty(
      fc.constantFrom('binary' as const, 'nocase' as const),
      fc.array(row, { maxLength: 60 }),
      fc.array(view, { minLength: 1, maxLength: 3 }),
      fc.array(step, { minLength: 20, maxLength: 150 }),
      run,
    ),
    { numRuns: Number(process.env.RUNS ?? 500) },
  ),
)
