import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RealtimePayload } from '../../src/index.js'
import { createServer, type Server as Sdk } from '../../src/server/index.js'
import { clientOf, Heard, Server } from '../support/server.js'

const server = new Server()
let sdk: Sdk

beforeAll(async () => {
  await server.start()
  sdk = createServer({ url: server.url, secretKey: 'ac_secret_dev' })
  await sdk.db.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)')
})
afterAll(() => server.remove())

test('emit reaches subscribers and history, once for each id', async () => {
  const client = clientOf(server, { userId: 'ada' })
  const heard = new Heard<RealtimePayload>()
  await client.channel('notifications/ada').on('message', heard.add).subscribe()
  const first = await sdk.socket.emit('message', { text: 'shipped' }, 'notifications/ada', {
    persist: true,
    id: 'j-1',
  })
  const again = await sdk.socket.emit('message', { text: 'shipped' }, 'notifications/ada', {
    persist: true,
    id: 'j-1',
  })
  await sdk.socket.emit('message', { text: 'done' }, 'notifications/ada')
  expect([await heard.next(), await heard.next()]).toMatchObject([
    { data: { text: 'shipped' }, id: 'j-1' },
    { data: { text: 'done' } },
  ])
  expect(again).toMatchObject({ id: 'j-1', cursor: first.cursor, duplicate: true })
  expect(await sdk.history('notifications/ada')).toMatchObject([{ id: 'j-1', data: { text: 'shipped' } }])
  client.disconnect()
})

test('query and batch write rows, and clients see them', async () => {
  const client = clientOf(server)
  const heard = new Heard<RealtimePayload>()
  await client.channel('orders').on('*', heard.add).subscribe()
  await sdk.db.query('INSERT INTO orders VALUES (?, ?)', [1, 'open'])
  const { results } = await sdk.db.batch([
    { sql: 'UPDATE orders SET status = ? WHERE id = ?', params: ['paid', 1] },
    { sql: 'SELECT * FROM orders' },
  ])
  expect(results[1]).toMatchObject({ results: [{ id: 1, status: 'paid' }], count: 1, success: true })
  expect(await heard.next()).toMatchObject({ operation: 'INSERT', data: { id: 1, status: 'open' } })
  expect(await heard.next()).toMatchObject({ operation: 'UPDATE', data: { status: 'paid' } })
  await expect(sdk.db.query('SELECT nope')).rejects.toMatchObject({ retryable: false })
  client.disconnect()
})

test('presence and disconnect', async () => {
  const client = clientOf(server, { userId: 'bob' })
  const ended = new Promise((resolve) => client.onError(resolve))
  await client.channel('room/1').track({ name: 'Bob' })
  expect(await sdk.presence('room/1')).toMatchObject([{ userId: 'bob', state: { name: 'Bob' } }])
  expect(await sdk.disconnect('bob')).toBe(1)
  expect(await ended).toMatchObject({ code: 'forbidden' })
  expect(client.status).toBe('disconnected')
})

test('a wrong key is refused', async () => {
  const wrong = createServer({ url: server.url, secretKey: 'ac_secret_wrong' })
  await expect(wrong.db.query('SELECT 1')).rejects.toMatchObject({ code: 'unauthorized', retryable: false })
})
