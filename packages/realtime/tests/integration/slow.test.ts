import { randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import type { ChannelOptions, Client, RealtimePayload } from '../../src/index.js'
import { liveTable } from '../../src/table/index.js'
import { Cable, clientOf, Heard, Server } from '../support/server.js'

/** More than the network buffers, also when it is compressed: 300 times 60 kB. */
const MANY = 300
const TEXT = randomBytes(45_000).toString('base64')

const ended: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end()
})

/** A server, a client of it, and another client behind a network that can be paused. */
async function stage(): Promise<{ server: Server; cable: Cable; ada: Client; bob: Client }> {
  const server = await new Server().start()
  ended.push(() => server.remove())
  const cable = await new Cable(server).start()
  ended.push(() => cable.stop())
  const [ada, bob] = [clientOf(server, { userId: 'ada' }), clientOf(cable, { userId: 'bob' })]
  ended.push(() => [ada, bob].map((each) => each.disconnect()))
  return { server, cable, ada, bob }
}

/** What bob receives after a pause in which ada moved three things. */
async function board(options: ChannelOptions): Promise<RealtimePayload[]> {
  const { cable, ada, bob } = await stage()
  const heard = new Heard<RealtimePayload>()
  await bob.channel('board/1', options).on('*', heard.add).subscribe()
  cable.hold()
  const moving = ada.channel('board/1')
  for (let n = 0; n < MANY; n++) await moving.publish('moved', { id: n % 3, n, text: TEXT })
  cable.release()
  const received: RealtimePayload[] = []
  const dropped = () => received.reduce((sum, { data }) => sum + (data.dropped ?? 1), 0)
  while (received.at(-1)?.data.n !== MANY - 1 && dropped() < MANY) received.push(await heard.next())
  return received
}

test('latest delivers the newest event of each key', async () => {
  const numbers = (await board({ slow: 'latest', key: 'id' })).map(({ data }) => data.n)
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
  expect(numbers.slice(-3)).toEqual([MANY - 3, MANY - 2, MANY - 1])
  expect(numbers.length).toBeLessThan(MANY)
})

test('drop reports a gap with the number of events', async () => {
  const received = await board({ slow: 'drop' })
  const gaps = received.filter(({ event }) => event === 'gap')
  const dropped = gaps.reduce((sum, { data }) => sum + data.dropped, 0)
  expect(dropped).toBeGreaterThan(0)
  expect(received.length - gaps.length + dropped).toBe(MANY)
})

test.each(['latest', 'drop'] as const)('%s: live rows are right when they have caught up', async (slow) => {
  const { server, cable, bob } = await stage()
  await server.query('CREATE TABLE parts(a INTEGER, b INTEGER, n INTEGER, text TEXT, PRIMARY KEY (a, b))')
  for (let b = 0; b < 3; b++) await server.query('INSERT INTO parts VALUES (1, ?, 0, ?)', b, '')
  const rows = new Heard<readonly { b: number; n: number }[]>()
  const table = liveTable<{ a: number; b: number; n: number }>(bob, 'parts', {
    key: ['a', 'b'],
    order: 'b',
    slow,
  })
  table.subscribe((state) => rows.add(state.rows))
  await rows.until((each) => each.length === 3)
  cable.hold()
  for (let n = 0; n < MANY / 2; n++)
    await server.query('UPDATE parts SET n = ?, text = ? WHERE b = ?', n, TEXT, n % 3)
  await server.query('DELETE FROM parts WHERE b = 1')
  await server.query('INSERT INTO parts VALUES (1, 9, 9, ?)', 'end')
  cable.release()
  const last = await rows.until((each) => each.at(-1)?.b === 9)
  expect(last.map(({ b, n }) => [b, n])).toEqual([
    [0, 147],
    [2, 149],
    [9, 9],
  ])
})

test('a policy that a table does not support is refused', async () => {
  const { server, ada } = await stage()
  await server.query('CREATE TABLE things(id INTEGER PRIMARY KEY)')
  const refusal = ada.channel('things', { slow: 'latest' }).subscribe()
  await expect(refusal).rejects.toMatchObject({ code: 'bad_message' })
})
