import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { AerostackError, Client, RealtimePayload, Status } from '../../src/index.js'
import { TestClock } from '../support/network.js'
import { Cable, clientOf, Heard, Server, tokenOf, Unlimited } from '../support/server.js'

const server = new Server()
const clients: Client[] = []
const cables: Cable[] = []

beforeAll(async () => {
  await server.start()
  await server.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL)')
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  for (const cable of cables.splice(0)) await cable.stop()
})
afterAll(() => server.remove())

function client(options: Parameters<typeof clientOf>[1] = {}, target: { url: string } = server): Client {
  const made = clientOf(target, options)
  clients.push(made)
  return made
}

async function through(): Promise<Cable> {
  const cable = await new Cable(server).start()
  cables.push(cable)
  return cable
}

function statuses(of: Client): Heard<Status> {
  const heard = new Heard<Status>()
  of.onStatusChange(heard.add)
  return heard
}

test('a message reaches other clients, its sender and history', async () => {
  const [ada, bob] = [client({ userId: 'ada' }), client({ userId: 'bob' })]
  const heard = new Heard<RealtimePayload>()
  await ada.channel('chat/two').on('message', heard.add).subscribe()
  const room = bob.channel('chat/two')
  const echo = new Heard<RealtimePayload>()
  await room.on('message', echo.add).subscribe()
  const ack = await room.publish('message', { text: 'hello' }, { persist: true })
  const got = await heard.next()
  expect(got).toMatchObject({ topic: 'chat/two', event: 'message', data: { text: 'hello' }, userId: 'bob' })
  expect((await echo.next()).cursor).toBe(ack.cursor)
  const [message] = await room.getHistory(10)
  expect(message).toMatchObject({ event: 'message', data: { text: 'hello' }, user_id: 'bob', id: got.id })
})

test('history is newest first and pages by created_at', async () => {
  const room = client().channel('chat/pages')
  for (const n of [1, 2, 3, 4, 5]) await room.publish('message', n, { persist: true })
  const newest = await room.getHistory(3)
  expect(newest.map(({ data }) => data)).toEqual([5, 4, 3])
  const older = await room.getHistory(3, newest.at(-1)?.created_at)
  expect(older.map(({ data }) => data)).toEqual([2, 1])
})

test('publish and track work before subscribe and connect', async () => {
  const one = client({ userId: 'ada' })
  const channel = one.channel('chat/order')
  const acked = channel.publish('message', 1)
  const tracked = channel.track({ userId: 'ada' })
  const joined = new Heard<RealtimePayload>()
  const subscribed = channel.on('presence:join', joined.add).subscribe()
  await Promise.all([acked, tracked, subscribed])
  expect((await joined.next()).data).toEqual({ userId: 'ada' })
})

test('each channel receives the row changes of its view', async () => {
  const all = new Heard<RealtimePayload>()
  const open = new Heard<RealtimePayload>()
  const one = client()
  await one.channel('orders').on('*', all.add).subscribe()
  await one
    .channel('orders', { filter: { status: 'open' } })
    .on('*', open.add)
    .subscribe()
  await server.query("INSERT INTO orders VALUES (1, 'open', 9.5)")
  expect(await all.next()).toMatchObject({
    operation: 'INSERT',
    topic: 'orders',
    data: { id: 1, status: 'open', total: 9.5 },
  })
  expect((await open.next()).operation).toBe('INSERT')
  await server.query("UPDATE orders SET status = 'paid' WHERE id = 1")
  expect(await all.next()).toMatchObject({
    operation: 'UPDATE',
    old: { status: 'open' },
    data: { status: 'paid' },
  })
  expect(await open.next()).toMatchObject({ operation: 'DELETE', data: { id: 1, status: 'open' } })
  await server.query('DELETE FROM orders WHERE id = 1')
  expect(await all.next()).toMatchObject({ operation: 'DELETE', data: { id: 1 } })
  expect(open.rest).toEqual([])
})

test('the server filters for a single view', async () => {
  const paid = new Heard<RealtimePayload>()
  await client()
    .channel('orders', { filter: { total: { gte: 10 }, status: { in: ['paid'] } } })
    .on('*', paid.add)
    .subscribe()
  await server.query("INSERT INTO orders VALUES (2, 'paid', 5), (3, 'open', 20), (4, 'paid', 20)")
  expect((await paid.next()).data.id).toBe(4)
  expect(paid.rest).toEqual([])
})

test('presence reports joins, updates, members and leaves', async () => {
  const [ada, bob] = [client({ userId: 'ada' }), client({ userId: 'bob' })]
  const heard = new Heard<RealtimePayload>()
  const room = ada.channel('room/1')
  await room.on('*', heard.add).subscribe()
  const there = bob.channel('room/1')
  await there.track({ userId: 'bob', at: 1 })
  expect(await heard.next()).toMatchObject({ event: 'presence:join', data: { userId: 'bob', at: 1 } })
  await there.track({ userId: 'bob', at: 2 })
  expect(await heard.next()).toMatchObject({ event: 'presence:update', data: { at: 2 } })
  expect(await room.presence()).toMatchObject([{ userId: 'bob', state: { at: 2 } }])
  expect(room.members).toMatchObject([{ userId: 'bob' }])
  const late = new Heard<RealtimePayload>()
  await client().channel('room/1').on('presence:join', late.add).subscribe()
  expect(await late.next()).toMatchObject({ data: { userId: 'bob' }, snapshot: true })
  bob.disconnect()
  expect(await heard.next()).toMatchObject({ event: 'presence:leave', data: { userId: 'bob' } })
})

test('after a reconnection only real presence changes are reported', async () => {
  const cable = await through()
  const ada = client({ userId: 'ada', random: () => 0.999 }, cable)
  const heard = new Heard<string>()
  await ada
    .channel('room/away')
    .on('*', ({ event, userId }) => heard.add(`${event} ${userId}`))
    .subscribe()
  const [bob, cy] = [client({ userId: 'bob' }), client({ userId: 'cy' })]
  const left = new Heard<RealtimePayload>()
  await cy.channel('room/away').on('presence:leave', left.add).subscribe()
  await bob.channel('room/away').track({ userId: 'bob' })
  await cy.channel('room/away').track({ userId: 'cy' })
  await heard.until((each) => each === 'presence:join cy')
  cable.unplug()
  bob.disconnect()
  await left.next()
  cable.plug()
  expect(await heard.next()).toBe('presence:leave bob')
  await ada.channel('room/away').publish('done', null)
  expect(await heard.next()).toBe('done ada')
  expect(ada.channel('room/away').members).toMatchObject([{ userId: 'cy' }])
})

test('a refusal rejects its promise with a typed error', async () => {
  await expect(client().channel('no_such_table').subscribe()).rejects.toMatchObject({
    code: 'not_found',
    retryable: false,
  })
  await expect(
    client()
      .channel('orders', { filter: { colour: 1 } })
      .subscribe(),
  ).rejects.toMatchObject({
    code: 'invalid_filter',
  })
})

test('an unknown column is refused beside a handle without a filter', async () => {
  const user = client()
  const heard = new Heard<number>()
  await user
    .channel('orders')
    .on('INSERT', ({ data }) => heard.add(data.id))
    .subscribe()
  await server.query('INSERT INTO orders VALUES (71, ?, 1)', 'open')
  const refused = user.channel('orders', { filter: { colour: 1 } })
  await expect(refused.subscribe()).rejects.toMatchObject({ code: 'invalid_filter', retryable: false })
  await server.query('INSERT INTO orders VALUES (72, ?, 1)', 'open')
  expect([await heard.next(), await heard.next()]).toEqual([71, 72])
})

test('after a lost connection nothing is missed or repeated', async () => {
  const cable = await through()
  const one = client({ userId: 'ada', random: () => 0.999 }, cable)
  const other = client({ userId: 'bob' })
  const heard = new Heard<RealtimePayload>()
  const joined = new Heard<RealtimePayload>()
  await other.channel('chat/cut').on('*', joined.add).subscribe()
  const channel = one.channel('chat/cut')
  await channel.on('message', heard.add).subscribe()
  await channel.track({ userId: 'ada' })
  await joined.until(({ event }) => event === 'presence:join')
  await other.channel('chat/cut').publish('message', 1)
  await heard.next()
  const status = statuses(one)
  cable.cut()
  await status.until((each) => each === 'reconnecting')
  const acked = channel.publish('message', 3)
  await other.channel('chat/cut').publish('message', 2)
  await joined.until(({ event }) => event === 'presence:leave')
  await joined.until(({ event }) => event === 'presence:join')
  await acked
  expect((await heard.next()).data).toBe(2)
  expect((await heard.next()).data).toBe(3)
  expect(channel.recovered).toBe(true)
  expect(one.status).toBe('connected')
  expect(heard.rest).toEqual([])
})

test('a half-open connection is detected and replaced', async () => {
  const cable = await through()
  const clock = new TestClock() // no attempt times out, however busy the machine is
  const one = client({ clock, random: () => 0 }, cable)
  const heard = new Heard<RealtimePayload>()
  await one.channel('chat/half').on('message', heard.add).subscribe()
  const status = statuses(one)
  cable.freeze()
  await clock.pass(25_000 + 5_000) // a heartbeat without a frame, and a ping without an answer
  await status.until((each) => each === 'reconnecting')
  await clock.pass(1_000)
  await client().channel('chat/half').publish('message', 'while away')
  expect((await heard.next()).data).toBe('while away')
})

test('after a server restart messages and rows continue without a gap', async () => {
  const own = await new Server().start()
  try {
    await own.query('CREATE TABLE todos (id INTEGER PRIMARY KEY, text TEXT)')
    const one = client({ userId: 'ada', random: () => 0.999 }, own)
    const messages = new Heard<RealtimePayload>()
    const rows = new Heard<RealtimePayload>()
    const channel = one.channel('chat/kill').on('message', messages.add)
    await channel.subscribe()
    await one.channel('todos').on('INSERT', rows.add).subscribe()
    await channel.publish('message', 1, { persist: true })
    await own.query("INSERT INTO todos VALUES (1, 'before')")
    await messages.next()
    await rows.next()
    const status = statuses(one)
    await own.kill()
    await status.until((each) => each === 'reconnecting')
    const acked = channel.publish('message', 2, { persist: true })
    await own.start()
    await own.query("INSERT INTO todos VALUES (2, 'after')")
    await acked
    expect((await messages.next()).data).toBe(2)
    expect((await rows.next()).data).toMatchObject({ id: 2 })
    expect([...messages.rest, ...rows.rest]).toEqual([])
    expect((await channel.getHistory()).map(({ data }) => data)).toEqual([2, 1])
  } finally {
    await own.remove()
  }
})

test('a wrong token rejects with the reason', async () => {
  const errors = new Heard<AerostackError>()
  const one = client({ token: 'a.b.c', onError: errors.add })
  await expect(one.connect()).rejects.toMatchObject({ code: 'unauthorized' })
  expect(one.status).toBe('disconnected')
})

test('a publish above the limits rejects and later ones arrive', async () => {
  const one = client({ userId: 'ada' })
  const heard = new Heard<unknown>()
  const room = one.channel('chat/limits').on('message', ({ data }) => heard.add(data))
  await room.subscribe()
  const nested = (levels: number): unknown => (levels ? [nested(levels - 1)] : 0)
  for (const data of ['x'.repeat(70_000), 'x'.repeat(1_200_000)])
    await expect(room.publish('message', data)).rejects.toMatchObject({ code: 'too_large', retryable: false })
  await expect(room.publish('message', nested(128))).rejects.toMatchObject({ code: 'bad_message' })
  await room.publish('message', nested(127))
  expect(await heard.next()).toEqual(nested(127))
  expect(one.status).toBe('connected')
})

test('a frame that the server does not read rejects alone', async () => {
  const one = clientOf(server, { random: () => 0.999, WebSocket: Unlimited })
  clients.push(one)
  const seen = statuses(one)
  await one.connect()
  const room = one.channel('chat/1009')
  const large = expect(room.publish('message', 'x'.repeat(1_200_000))).rejects.toMatchObject({
    code: 'too_large',
  })
  const small = room.publish('message', 'small', { persist: true })
  await large
  await small
  await seen.until((status) => status === 'reconnecting')
  await seen.until((status) => status === 'connected')
  expect((await room.getHistory()).map(({ data }) => data)).toEqual(['small'])
})

test('a client without a project uses the one of the server', async () => {
  const shop = await new Server('--project', 'shop').start()
  try {
    const heard = new Heard<RealtimePayload>()
    const [ada, bob] = [client({ userId: 'ada' }, shop), client({ userId: 'bob', projectId: 'shop' }, shop)]
    await ada.channel('chat/1').on('message', heard.add).subscribe()
    await bob.channel('chat/1').publish('message', 'hello', { persist: true })
    expect(await heard.next()).toMatchObject({ topic: 'chat/1', data: 'hello' })
    expect(await ada.channel('chat/1').getHistory()).toHaveLength(1)
    const refused = client({ projectId: 'other' }, shop).connect()
    await expect(refused).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining("'other'"),
    })
  } finally {
    await shop.remove()
  }
})

test('a client moves on to another server when one is killed', async () => {
  const servers = [await new Server().start(), await new Server().start()]
  try {
    const one = client({ url: servers.map(({ url }) => url), random: () => 0.999 })
    const seen = statuses(one)
    await one.connect()
    await servers[0]?.kill()
    await seen.until((status) => status === 'reconnecting')
    await seen.until((status) => status === 'connected')
    const room = one.channel('chat/1')
    await room.publish('message', 1, { persist: true })
    expect(await room.getHistory()).toHaveLength(1)
  } finally {
    for (const each of servers) await each.remove()
  }
})

test('a legacy chat message is persisted and delivered', async () => {
  const heard = new Heard<RealtimePayload>()
  const one = client({ userId: 'ada' })
  const room = one.chatRoom('general').on('chat_message', heard.add)
  await room.subscribe()
  one.sendChat('general', 'hello')
  expect((await heard.next()).data).toMatchObject({ roomId: 'general', text: 'hello', userId: 'ada' })
  expect(await room.getHistory()).toHaveLength(1)
})

test('setToken to another user reconnects as that user', async () => {
  const one = client({ token: tokenOf('ada'), random: () => 0.999 })
  const heard = new Heard<RealtimePayload>()
  const room = one.channel('chat/users').on('message', heard.add)
  await room.subscribe()
  await room.publish('message', 1)
  expect((await heard.next()).userId).toBe('ada')
  const seen = statuses(one)
  one.setToken(tokenOf('bob'))
  await seen.until((status) => status === 'reconnecting')
  await seen.until((status) => status === 'connected')
  await room.publish('message', 2)
  expect(await heard.next()).toMatchObject({ data: 2, userId: 'bob' })
})
