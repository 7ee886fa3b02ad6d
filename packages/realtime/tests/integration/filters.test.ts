import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Client, Filter } from '../../src/index.js'
import { clientOf, Heard, Server } from '../support/server.js'

let server: Server
const clients: Client[] = []

beforeEach(async () => {
  server = await new Server().start()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  await server.remove()
})

/** The values of each column and of filters on it, some of them equal but written differently. */
const VALUES: Record<string, [type: string, ...values: (string | number | boolean | null)[]]> = {
  price: ['NUMERIC', '9', '9.50', '10.00', '10', '-0.5', '-10', '0', '12345678901234567890.5', 'NaN', null],
  big: ['BIGINT', 9, 10, -10, 0, '9007199254740993', '-9007199254740993', '9007199254740992', null],
  ratio: ['DOUBLE PRECISION', 9.5, 10, 0.1, -0.1, 1e300, 'Infinity', '-Infinity', 'NaN', null],
  at: [
    'TIMESTAMPTZ',
    '2026-01-01T12:00:00Z',
    '2026-01-01T14:00:00+02:00',
    '2026-01-01T12:00:00.000001Z',
    '2026-01-01 12:00:00.5+00',
    '2025-12-31T23:59:59-05:30',
    '2026-01-01',
    'infinity',
    null,
  ],
  key: ['UUID', '0b5f1f6e-5f0a-4c3e-9d53-0242ac120002', '0B5F1F6E-5F0A-4C3E-9D53-0242AC120002', null],
  name: ['TEXT', '', '9', '10', 'a', 'é', '\uffff', '😀', null],
  done: ['BOOLEAN', true, false, null],
}
const COLUMNS = Object.keys(VALUES)

const column = fc.constantFrom(...COLUMNS)
const anyOf = (name: string) => fc.constantFrom(...(VALUES[name] ?? []).slice(1))
const row = fc.tuple(...COLUMNS.map(anyOf))
const condition = column.chain((name) => {
  const value = fc.oneof(anyOf(name), column.chain(anyOf))
  const compared = fc
    .tuple(fc.constantFrom('eq', 'ne', 'lt', 'lte', 'gt', 'gte'), value)
    .map(([op, wanted]) => ({ [op]: wanted }))
  const any = fc.oneof(
    value,
    compared,
    fc.array(value, { maxLength: 3 }).map((all) => ({ in: all })),
  )
  return any.map((wanted) => [name, wanted] as const)
})
const filter = fc
  .array(condition, { minLength: 1, maxLength: 2 })
  .map((conditions) => Object.fromEntries(conditions) as Filter)
const update = fc.tuple(
  fc.nat(39),
  column.chain((name) => fc.tuple(fc.constant(name), anyOf(name))),
)

const of = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number) =>
  fc.sample(arbitrary, { seed: 20_261_125, numRuns })

/** Subscribe one client with each filter. The function that is returned resolves with the events of each. */
async function follow(client: Client, filters: Filter[]): Promise<() => Promise<unknown[][]>> {
  clients.push(client)
  const end = new Heard<unknown>()
  await client.channel('ends').on('INSERT', end.add).subscribe()
  const heard = filters.map(() => [] as unknown[])
  for (const [index, filter] of filters.entries())
    await client
      .channel('typed', { filter })
      .on('*', ({ operation, data, old }) => heard[index]?.push({ operation, data, old }))
      .subscribe()
  return async () => {
    await end.next()
    return heard
  }
}

test('client and server agree on every filter', async () => {
  const types = COLUMNS.map((name) => `${name} ${VALUES[name]?.[0]}`)
  await server.query(`CREATE TABLE typed (id INTEGER PRIMARY KEY, ${types.join(', ')})`)
  await server.query('CREATE TABLE ends (id INTEGER PRIMARY KEY)')
  const filters = of(filter, 60)
  const together = await follow(clientOf(server), filters)
  const alone = await Promise.all(filters.map((each) => follow(clientOf(server), [each])))

  const places = COLUMNS.map(() => '?').join(', ')
  for (const [id, values] of of(row, 40).entries())
    await server.query(`INSERT INTO typed VALUES (${id}, ${places})`, ...values)
  for (const [id, [name, value]] of of(update, 60))
    await server.query(`UPDATE typed SET ${name} = ? WHERE id = ?`, value, id)
  await server.query('DELETE FROM typed WHERE id < 20')
  await server.query('INSERT INTO ends VALUES (1)')

  const shown = await Promise.all(alone.map(async (heard) => (await heard())[0]))
  expect(shown.flat().length).toBeGreaterThan(500)
  for (const [index, heard] of (await together()).entries())
    expect({ filter: filters[index], heard }).toEqual({ filter: filters[index], heard: shown[index] })
})
