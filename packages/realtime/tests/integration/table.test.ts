import { afterEach, beforeEach, expect, test } from 'vitest'
import WebSocket from 'ws'
import type { Client, SocketConstructor } from '../../src/index.js'
import { type AnyRow, type LiveTable, liveTable, type TableState } from '../../src/table/index.js'
import { clientOf, Server } from '../support/server.js'

let server: Server
const clients: Client[] = []

beforeEach(async () => {
  server = await new Server().start()
  await server.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL)')
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  await server.remove()
})

function client(options: Parameters<typeof clientOf>[1] = {}): Client {
  const made = clientOf(server, { random: () => 0.999, ...options })
  clients.push(made)
  return made
}

/** Wait until the table is in the `wanted` state. */
function becomes<R extends AnyRow>(
  table: LiveTable<R>,
  wanted: (state: TableState<R>) => boolean,
): Promise<TableState<R>> {
  if (wanted(table.state)) return Promise.resolve(table.state)
  return new Promise((resolve) => {
    const stop = table.subscribe((state) => {
      if (!wanted(state)) return
      stop()
      resolve(state)
    })
  })
}

const fresh = ({ stale }: { stale: boolean }) => !stale
const numbered = (count: number) =>
  `WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < ${count})
   INSERT INTO orders SELECT i, 'open', i FROM c`

test('a limited view stays correct while rows come, change and go', async () => {
  await server.query(numbered(40))
  const top = liveTable(client(), 'orders', { filter: { status: 'open' }, order: '-total', limit: 3 })
  await becomes(top, fresh)
  expect(top.rows.map(({ id }) => id)).toEqual([40, 39, 38])
  await server.query("UPDATE orders SET status = 'paid' WHERE id BETWEEN 30 AND 40") // more than are in reserve
  await becomes(top, ({ rows, stale }) => !stale && rows[0]?.id === 29)
  await server.query("INSERT INTO orders VALUES (41, 'open', 28.5)")
  await becomes(top, ({ rows }) => rows[1]?.id === 41)
  await server.query('UPDATE orders SET total = NULL WHERE id = 29')
  await becomes(top, ({ rows }) => rows[0]?.id === 41)
  const best = "SELECT * FROM orders WHERE status = 'open' ORDER BY total DESC NULLS LAST, id LIMIT 3"
  expect(top.rows).toEqual(await server.query(best))
})

test('rows resume after a server restart and keep their identity', async () => {
  await server.query(numbered(3))
  const orders = liveTable(client(), 'orders')
  const [first] = (await becomes(orders, fresh)).rows
  await server.kill()
  await becomes(orders, ({ stale }) => stale)
  expect(orders.rows).toHaveLength(3)
  await server.start()
  await server.query("INSERT INTO orders VALUES (4, 'open', 4)")
  await becomes(orders, ({ rows, stale }) => !stale && rows.length === 4)
  expect(orders.rows[0]).toBe(first)
})

test('a snapshot interrupted by a kill is requested again', async () => {
  await server.query(numbered(20_000))
  let parts = 0
  let kill = () => {}
  const killed = new Promise<void>((resolve) => (kill = () => resolve(server.kill())))
  class Watched extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      this.on('message', (data) => {
        if (!String(data).startsWith('{"type":"snapshot"') || ++parts !== 3) return
        this.terminate() // what is on its way already is lost too
        kill()
      })
    }
  }
  const orders = liveTable(client({ WebSocket: Watched as unknown as SocketConstructor }), 'orders')
  await killed
  expect(orders).toMatchObject({ rows: [], loading: true })
  await server.start()
  await server.query('DELETE FROM orders WHERE id <= 10')
  await becomes(orders, ({ rows, stale }) => !stale && rows.length === 19_990)
  expect(orders.rows[0]?.id).toBe(11)
})

test('different views and a channel on one table agree with it', async () => {
  await server.query(numbered(300))
  const one = client()
  const inserted: number[] = []
  await one
    .channel('orders')
    .on('INSERT', ({ data }) => inserted.push(data.id))
    .subscribe()
  const write = async () => {
    for (let id = 301; id <= 340; id++) {
      await server.query("INSERT INTO orders VALUES (?, 'open', ?)", id, id % 7)
      await server.query("UPDATE orders SET status = 'paid' WHERE id = ?", id - 100)
    }
  }
  const writing = write()
  const open = liveTable(one, 'orders', { filter: { status: 'open' }, order: 'id' })
  const paid = liveTable(one, 'orders', { filter: { status: 'paid' }, order: '-id', limit: 5 })
  await becomes(open, fresh)
  await writing
  await server.query("INSERT INTO orders VALUES (400, 'open', 0), (401, 'paid', 0)")
  await becomes(open, ({ rows, stale }) => !stale && rows.at(-1)?.id === 400)
  await becomes(paid, ({ rows, stale }) => !stale && rows[0]?.id === 401)
  expect(open.rows).toEqual(await server.query("SELECT * FROM orders WHERE status = 'open' ORDER BY id"))
  expect(paid.rows).toEqual(
    await server.query("SELECT * FROM orders WHERE status = 'paid' ORDER BY id DESC LIMIT 5"),
  )
  expect(inserted).toEqual([...Array.from({ length: 40 }, (_, index) => 301 + index), 400, 401])
})

test('a table that is dropped and created again is loaded again', async () => {
  await server.query(numbered(2))
  const orders = liveTable(client({ onError: () => {} }), 'orders')
  await becomes(orders, fresh)
  await server.query('DROP TABLE orders')
  await becomes(orders, ({ error }) => error?.code === 'not_found')
  expect(orders.rows).toHaveLength(2)
  await server.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)')
  await server.query("INSERT INTO orders VALUES (7, 'tea')")
  await becomes(orders, ({ rows, stale }) => !stale && rows[0]?.item === 'tea')
  expect(orders).toMatchObject({ rows: [{ id: 7, item: 'tea' }], error: null })
})
