import { describe, expect, test } from 'vitest'
import { liveTable, type TableState } from '../../src/table/index.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected, settled, type TestSocket } from '../support/network.js'

const TOPIC = 'table/orders/default'

type Operation = 'INSERT' | 'UPDATE' | 'DELETE'

function change(made: Bench, operation: Operation, data: object, cursor: string, old?: object): void {
  made.socket.say({
    type: 'db_change',
    topic: TOPIC,
    operation,
    data: { ...data },
    ...(old && { old: { ...old } }),
    cursor,
  })
}

async function reconnect(made: Bench): Promise<TestSocket> {
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  return made.socket
}

function sent(made: Bench): string[] {
  return made.socket.sent.map(({ type, ...frame }) => ('snapshot' in frame ? 'snapshot' : type))
}

const numbered = (count: number) => Array.from({ length: count }, (_, index) => ({ id: index + 1 }))
const ids = ({ rows }: { rows: readonly { id?: unknown }[] }) => rows.map(({ id }) => id)

describe('rows', () => {
  test('appear with the last part of the snapshot and follow changes', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    const states: TableState<object>[] = []
    orders.subscribe((state) => states.push(state))
    expect(orders).toMatchObject({ rows: [], loading: true, stale: true, error: null })
    made.socket.snapshot([], 'c:0', [[{ id: 1 }], [{ id: 2 }], []])
    change(made, 'INSERT', { id: 3 }, 'c:1')
    change(made, 'UPDATE', { id: 1, n: 1 }, 'c:2', { id: 1 })
    change(made, 'DELETE', { id: 2 }, 'c:3')
    expect(states.map(({ rows }) => rows)).toEqual([
      [{ id: 1 }, { id: 2 }],
      [{ id: 1 }, { id: 2 }, { id: 3 }],
      [{ id: 1, n: 1 }, { id: 2 }, { id: 3 }],
      [{ id: 1, n: 1 }, { id: 3 }],
    ])
    expect(orders.state).toBe(states.at(-1))
    expect(orders).toMatchObject({ loading: false, stale: false })
    expect(sent(made)).toEqual(['snapshot'])
  })

  test('may have a key of other columns than `id`, or of several', async () => {
    const made = await connected()
    const seats = liveTable(made.client, 'orders', { key: ['row', 'seat'] })
    made.socket.snapshot([
      { row: 1, seat: 1 },
      { row: 1, seat: 2 },
    ])
    change(made, 'UPDATE', { row: 1, seat: 2, by: 'ada' }, 'c:1', { row: 1, seat: 2 })
    change(made, 'UPDATE', { row: 9, seat: 1 }, 'c:2', { row: 1, seat: 1 })
    expect(seats.rows).toEqual([
      { row: 9, seat: 1 },
      { row: 1, seat: 2, by: 'ada' },
    ])
  })

  test('with the same key are an error', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders', { key: 'page' })
    made.socket.snapshot([{ page: 'a' }, { page: 'b' }, { page: 'a' }])
    expect(orders.error).toMatchObject({ code: 'unsupported', message: expect.stringContaining('same page') })
    expect(orders.rows).toEqual([])
  })

  test.each([
    ['INSERT', { id: 1, n: 2 }, undefined],
    ['UPDATE', { id: 1, n: 2 }, { id: 2 }],
  ] as const)('are asked for again after an %s that takes the name of one', async (operation, data, old) => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }, { id: 2 }])
    change(made, operation, data, 'c:1', old)
    await settled()
    expect(orders).toMatchObject({ stale: true, rows: [{ id: 1 }, { id: 2 }] })
    made.socket.snapshot([data], 'c:1')
    expect(orders).toMatchObject({ stale: false, rows: [data], error: null })
  })

  test('without the key column are an error for this table only', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    const heard: unknown[] = []
    made.client
      .channel('orders')
      .on('*', ({ data }) => heard.push(data.code))
      .subscribe()
    made.socket.snapshot([{ code: 'a' }])
    expect(orders.error).toMatchObject({ code: 'unsupported', message: expect.stringContaining('key') })
    made.socket.subscribed('c:0', true)
    change(made, 'INSERT', { code: 'b' }, 'c:1')
    expect(heard).toEqual(['b'])
  })

  test('are not available for a channel', async () => {
    const { client } = await connected()
    expect(() => liveTable(client, 'chat/general')).toThrow(
      expect.objectContaining({ code: 'invalid_topic' }),
    )
  })

  test('a listener that throws is reported and stops no other listener', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    const heard: unknown[] = []
    orders.subscribe(() => {
      throw new Error('mine')
    })
    orders.subscribe(({ rows }) => heard.push(rows.length))
    made.socket.snapshot([{ id: 1 }])
    expect(heard).toEqual([1])
    expect(made.errors).toEqual(['listener'])
  })
})

describe('a limit', () => {
  test('requests a reserve, so a row that leaves is replaced at once', async () => {
    const made = await connected()
    const top = liveTable(made.client, 'orders', { order: 'id', limit: 2 })
    expect(made.socket.last('subscribe').snapshot).toEqual({ order: 'id', limit: 7 })
    made.socket.snapshot(numbered(7))
    change(made, 'DELETE', { id: 1 }, 'c:1')
    expect(ids(top)).toEqual([2, 3])
    expect(sent(made)).toEqual(['snapshot'])
  })

  test('keeps the old rows until new ones replace a used-up reserve', async () => {
    const made = await connected()
    const top = liveTable(made.client, 'orders', { order: 'id', limit: 2 })
    made.socket.snapshot(numbered(7))
    for (const id of [1, 2, 3, 4, 5]) change(made, 'DELETE', { id }, `c:${id}`)
    expect(ids(top)).toEqual([6, 7])
    change(made, 'DELETE', { id: 6 }, 'c:6')
    expect(top).toMatchObject({ rows: [{ id: 6 }, { id: 7 }], stale: true, loading: false })
    await settled()
    made.socket.snapshot([{ id: 7 }, { id: 8 }], 'c:6')
    expect(top).toMatchObject({ rows: [{ id: 7 }, { id: 8 }], stale: false })
    expect(sent(made)).toEqual(['snapshot', 'snapshot'])
  })

  test('requests nothing more when the view has fewer rows', async () => {
    const made = await connected()
    const top = liveTable(made.client, 'orders', { order: 'id', limit: 2 })
    made.socket.snapshot(numbered(3))
    for (const id of [1, 2, 3]) change(made, 'DELETE', { id }, `c:${id}`)
    await settled()
    expect(ids(top)).toEqual([])
    expect(sent(made)).toEqual(['snapshot'])
  })

  test('asks the database once when two sort orders disagree', async () => {
    const made = await connected()
    const names = liveTable(made.client, 'orders', { order: 'name', limit: 5 })
    made.socket.snapshot([{ id: 1, name: 'ann' }])
    change(made, 'INSERT', { id: 2, name: 'Bob' }, 'c:1')
    expect(names).toMatchObject({ rows: [{ name: 'ann' }], stale: true })
    await settled()
    const bob = { id: 2, name: 'Bob' }
    made.socket.snapshot([bob, { id: 1, name: 'ann' }], 'c:1')
    expect(names.rows.map(({ name }) => name)).toEqual(['Bob', 'ann'])
    change(made, 'INSERT', { id: 3, name: 'Zoe' }, 'c:2')
    expect(names.rows.map(({ name }) => name)).toEqual(['Bob', 'Zoe', 'ann'])
    expect(sent(made)).toEqual(['snapshot', 'snapshot'])
  })

  test('sorts large integers and decimals as the database does', async () => {
    const made = await connected()
    const top = liveTable(made.client, 'orders', { order: '-n', limit: 5 })
    made.socket.snapshot([
      { id: 1, n: '10000000000000000' },
      { id: 2, n: '9007199254740993' },
      { id: 3, n: 12 },
    ])
    change(made, 'INSERT', { id: 4, n: '9007199254740994' }, 'c:1')
    expect(ids(top)).toEqual([1, 4, 2, 3])
  })
})

describe('the network', () => {
  test('a reconnection resumes without a new snapshot', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }])
    change(made, 'INSERT', { id: 2 }, 'c:1')
    const [first] = orders.rows
    const socket = await reconnect(made)
    expect(orders).toMatchObject({ rows: [{ id: 1 }, { id: 2 }], stale: true })
    expect(socket.last('subscribe')).toMatchObject({ since: 'c:1' })
    socket.subscribed('c:1', true)
    change(made, 'INSERT', { id: 3 }, 'c:2')
    expect(orders.stale).toBe(true)
    socket.answer()
    await settled()
    expect(orders).toMatchObject({ rows: [{ id: 1 }, { id: 2 }, { id: 3 }], stale: false })
    expect(orders.rows[0]).toBe(first)
    expect(sent(made)).toEqual(['subscribe', 'presence'])
  })

  test('a gap leads to a new snapshot; equal rows stay the same object', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }, { id: 2 }])
    const [first] = orders.rows
    const socket = await reconnect(made)
    socket.subscribed('d:9', false)
    await settled()
    expect(ids(orders)).toEqual([1, 2])
    socket.snapshot([{ id: 1 }, { id: 3 }], 'd:9')
    expect(orders).toMatchObject({ rows: [{ id: 1 }, { id: 3 }], stale: false })
    expect(orders.rows[0]).toBe(first)
  })

  test('a gap during a snapshot leads to a new one', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }])
    made.socket.say({ type: 'subscribed', topic: TOPIC, cursor: 'd:1', recovered: false })
    await settled()
    made.socket.snapshot([], 'd:1')
    expect(orders).toMatchObject({ rows: [], stale: false })
  })

  test('an interrupted snapshot is discarded and requested again', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    const { topic, id = '' } = made.socket.last('subscribe')
    made.socket.subscribed('c:0')
    made.socket.say({ type: 'snapshot', topic, rows: [{ id: 1 }], cursor: 'c:0', last: false, id })
    const socket = await reconnect(made)
    expect(orders.loading).toBe(true)
    expect(socket.last('subscribe')).toMatchObject({ snapshot: true })
    expect(socket.last('subscribe').since).toBeUndefined()
    socket.snapshot([{ id: 2 }], 'c:5')
    expect(ids(orders)).toEqual([2])
  })
})

describe('several subscribers of one topic', () => {
  test('a snapshot for one does not interrupt the others', async () => {
    const made = await connected()
    const heard: unknown[] = []
    made.client
      .channel('orders')
      .on('*', ({ data }) => heard.push(data.id))
      .subscribe()
    made.socket.subscribed('c:0')
    const open = liveTable(made.client, 'orders', { filter: { status: 'open' } })
    expect(made.socket.last('subscribe')).toMatchObject({ filter: { status: 'open' }, snapshot: true })
    made.socket.snapshot([{ id: 1, status: 'open' }], 'c:2')
    await eventually(() => expect(made.socket.last('subscribe')).toMatchObject({ since: 'c:0' }))
    expect(made.socket.last('subscribe').filter).toBeUndefined()
    made.socket.subscribed('c:0', true)
    change(made, 'INSERT', { id: 1, status: 'new' }, 'c:1')
    expect(open.loading).toBe(true)
    change(made, 'UPDATE', { id: 1, status: 'open' }, 'c:2', { id: 1, status: 'new' })
    change(made, 'INSERT', { id: 2, status: 'open' }, 'c:3')
    made.socket.answer()
    await settled()
    expect(open).toMatchObject({ loading: false, stale: false })
    expect(ids(open)).toEqual([1, 2])
    expect(heard).toEqual([1, 1, 2])
  })

  test('a refused snapshot is an error of its table only', async () => {
    const made = await connected()
    const good = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }])
    const bad = liveTable(made.client, 'orders', { order: 'colour', limit: 3 })
    const { id = '' } = made.socket.last('subscribe')
    made.socket.say({ type: 'error', code: 'invalid_filter', message: 'No.', retryable: false, id })
    expect(bad).toMatchObject({ error: { code: 'invalid_filter' }, loading: false })
    expect(made.socket.last('subscribe')).toMatchObject({ since: 'c:0' })
    made.socket.subscribed('c:0', true)
    change(made, 'INSERT', { id: 2 }, 'c:1')
    expect(ids(good)).toEqual([1, 2])
    expect(good.error).toBeNull()
  })

  test('a refused snapshot is requested again on the next connection', async () => {
    const made = await connected({ token: 'a.b.c' })
    const orders = liveTable(made.client, 'orders')
    const { id = '' } = made.socket.last('subscribe')
    made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, topic: TOPIC, id })
    expect(orders).toMatchObject({ error: { code: 'forbidden' }, loading: false })
    const socket = await reconnect(made)
    await settled()
    socket.snapshot([{ id: 1 }])
    expect(orders).toMatchObject({ rows: [{ id: 1 }], error: null, stale: false })
  })

  test('a snapshot is requested again after a retryable error', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    const { id = '' } = made.socket.last('subscribe')
    made.socket.say({ type: 'error', code: 'unavailable', message: 'Soon.', retryable: true, id })
    expect(orders).toMatchObject({ loading: true, error: { code: 'unavailable' } })
    await made.clock.pass(1_000)
    made.socket.snapshot([{ id: 1 }])
    expect(orders).toMatchObject({ rows: [{ id: 1 }], error: null, loading: false })
  })

  test('a dropped table is an error of its live table', async () => {
    const made = await connected()
    const orders = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }])
    made.socket.say({ type: 'error', code: 'not_found', message: 'Dropped.', retryable: false, topic: TOPIC })
    expect(orders).toMatchObject({ rows: [{ id: 1 }], stale: true, error: { code: 'not_found' } })
    expect(made.errors).toEqual(['not_found'])
  })

  test('tables with the same options share rows until the last closes', async () => {
    const made = await connected()
    const one = liveTable(made.client, 'orders', { limit: 2 })
    const two = liveTable(made.client, 'table/orders', { limit: 2, key: 'id' })
    made.socket.snapshot([{ id: 1 }])
    expect(two.rows).toBe(one.rows)
    one.close()
    one.close()
    await settled()
    change(made, 'INSERT', { id: 2 }, 'c:1')
    expect(ids(two)).toEqual([1, 2])
    two.close()
    await settled()
    expect(sent(made)).toEqual(['snapshot', 'unsubscribe'])
    expect(two).toMatchObject({ rows: [{ id: 1 }, { id: 2 }], stale: true })
  })
})
