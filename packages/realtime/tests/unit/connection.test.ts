import { afterEach, expect, test, vi } from 'vitest'
import type { Status } from '../../src/index.js'
import { bench, connected, settled } from '../support/network.js'

afterEach(() => {
  vi.unstubAllGlobals()
})

test('the address has project and user, sub-protocols credentials', async () => {
  const { client, sockets } = bench({
    url: 'https://server/',
    projectId: 'shop',
    userId: 'ada',
    apiKey: 'ac_1',
    token: 'a.b.c',
  })
  client.connect()
  await settled()
  expect(sockets[0]?.url.href).toBe('wss://server/api/realtime?projectId=shop&userId=ada')
  expect(sockets[0]?.protocols).toEqual(['aerostack-v1', 'aerostack-key.ac_1', 'aerostack-token.a.b.c'])
})

test('the status is connected once the server has accepted', async () => {
  const { client, sockets } = bench()
  const statuses: Status[] = []
  client.onStatusChange((status) => statuses.push(status))
  const connecting = client.connect()
  await settled()
  expect(client.status).toBe('connecting')
  sockets[0]?.accept()
  await connecting
  expect(statuses).toEqual(['connecting', 'connected'])
})

test('a late status listener receives the current status', async () => {
  const { client } = await connected()
  const statuses: Status[] = []
  const stop = client.onStatusChange((status) => statuses.push(status))
  await settled()
  stop()
  client.disconnect()
  expect(statuses).toEqual(['connected'])
})

test('pauses between attempts to reconnect grow', async () => {
  const { clock, sockets, socket, client } = await connected()
  socket.drop()
  expect(client.status).toBe('reconnecting')
  const opened: number[] = []
  for (let attempt = 1; attempt <= 6; attempt++) {
    await clock.pass(1_000 * 2 ** (attempt - 1) - 1)
    if (attempt < 6) expect(sockets).toHaveLength(attempt)
    await clock.pass(attempt === 6 ? 30_000 : 1)
    opened.push(clock.now())
    sockets.at(-1)?.drop()
  }
  expect(sockets).toHaveLength(7)
})

test('pauses start again after a successful connection', async () => {
  const made = await connected()
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.drop()
  await made.clock.pass(2_000)
  made.socket.accept()
  expect(made.client.status).toBe('connected')
  made.socket.drop()
  await made.clock.pass(1_000)
  expect(made.sockets).toHaveLength(4)
})

test('an attempt without an answer ends after ten seconds', async () => {
  const { client, clock, socket, sockets, errors } = await (async () => {
    const made = bench()
    made.client.connect()
    await settled()
    return made
  })()
  await clock.pass(10_000)
  expect(socket.closed).toBe(4001)
  expect(errors).toEqual(['network'])
  expect(client.status).toBe('reconnecting')
  await clock.pass(1_000)
  expect(sockets).toHaveLength(2)
})

test('a silent server gets a ping, then another connection is made', async () => {
  const made = await connected()
  await made.clock.pass(24_999)
  expect(made.socket.sent).toEqual([])
  await made.clock.pass(1)
  expect(made.socket.sent).toEqual([{ type: 'ping' }])
  made.socket.say({ type: 'pong' })
  await made.clock.pass(5_000)
  expect(made.client.status).toBe('connected')
  await made.clock.pass(25_000)
  expect(made.socket.sent).toHaveLength(2)
  await made.clock.pass(5_000)
  expect(made.sockets[0]?.closed).toBe(4001)
  expect(made.client.status).toBe('reconnecting')
})

test('a server that sends frames is not pinged', async () => {
  const made = await connected()
  for (let i = 0; i < 10; i++) {
    await made.clock.pass(20_000)
    made.socket.say({ type: 'pong' })
  }
  expect(made.socket.sent).toEqual([])
})

test('frames of an abandoned socket are ignored', async () => {
  const made = await connected()
  const [first] = made.sockets
  first?.drop()
  await made.clock.pass(1_000)
  first?.accept()
  first?.drop(4403)
  expect(made.client.status).toBe('reconnecting')
})

test('without getToken 4401 stops the client until setToken', async () => {
  const made = bench({ token: 'old' })
  const connecting = made.client.connect()
  await settled()
  made.socket.drop(4401, 'Sign in.')
  await expect(connecting).rejects.toMatchObject({ code: 'unauthorized', retryable: false })
  expect(made.errors).toEqual([])
  made.client.setToken('new')
  await settled()
  expect(made.socket.protocols).toContain('aerostack-token.new')
})

test('a refusal rejects connect with the sentence of the server', async () => {
  const made = bench()
  const connecting = made.client.connect()
  await settled()
  const message = "This server holds no project 'other': check projectId."
  made.socket.say({ type: 'error', code: 'forbidden', message, retryable: false })
  made.socket.drop(4403, 'forbidden')
  await expect(connecting).rejects.toMatchObject({ code: 'forbidden', message })
  expect(made.errors).toEqual([])
})

test('setToken connects again after an expired token', async () => {
  const made = bench({ token: 'old' })
  const connecting = made.client.connect()
  await settled()
  made.socket.say({ type: 'error', code: 'token_expired', message: 'Expired.', retryable: false })
  made.socket.drop(4401, 'token_expired')
  await expect(connecting).rejects.toMatchObject({ code: 'unauthorized', message: 'Expired.' })
  made.client.setToken('new')
  await settled()
  expect(made.socket.protocols).toContain('aerostack-token.new')
})

test('a refusal that is retryable is reported and retried', async () => {
  const made = bench()
  made.client.connect()
  await settled()
  made.socket.say({ type: 'error', code: 'unavailable', message: 'The server stops.', retryable: true })
  made.socket.drop(1012, 'unavailable')
  expect(made.errors).toEqual(['unavailable'])
  await made.clock.pass(1_000)
  expect(made.sockets).toHaveLength(2)
})

test('a first attempt that fails names the possible causes', async () => {
  const errors: string[] = []
  const made = bench({ onError: ({ message }) => errors.push(message) })
  made.client.connect()
  await settled()
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.drop()
  expect(errors).toEqual([expect.stringMatching(/does not answer.*`url`.*`origins`/)])
})

test('a failing getToken is reported and called again', async () => {
  let failing = true
  const made = bench({
    getToken: async () => {
      if (failing) throw new Error('offline')
      return 'fresh'
    },
  })
  made.client.connect()
  await settled()
  expect(made.errors).toEqual(['unauthorized'])
  failing = false
  await made.clock.pass(1_000)
  expect(made.socket.protocols).toContain('aerostack-token.fresh')
})

test('token_expired leads to a new token on the same connection', async () => {
  const tokens = ['old', 'new']
  const made = await connected({ getToken: () => tokens.shift() })
  made.socket.say({ type: 'error', code: 'token_expired', message: 'Expired.', retryable: false })
  await settled()
  expect(made.socket.sent).toEqual([{ type: 'auth', token: 'new' }])
})

test('setToken sends the token; null reconnects without one', async () => {
  const made = await connected({ token: 'one' })
  made.client.setToken('two')
  expect(made.socket.sent).toEqual([{ type: 'auth', token: 'two' }])
  made.client.setToken(null)
  await settled()
  expect(made.sockets).toHaveLength(2)
  expect(made.socket.protocols).toEqual(['aerostack-v1'])
})

test('disconnect lasts until connect', async () => {
  const made = await connected()
  made.client.disconnect()
  await made.clock.pass(100_000)
  expect(made.client.status).toBe('disconnected')
  expect(made.sockets).toHaveLength(1)
  const connecting = made.client.connect()
  await settled()
  made.socket.accept()
  await connecting
})

test('disconnect while connecting rejects connect and opens nothing later', async () => {
  const made = bench()
  const connecting = made.client.connect()
  made.client.disconnect()
  await expect(connecting).rejects.toMatchObject({ code: 'disconnected' })
  await settled()
  expect(made.sockets).toHaveLength(0)
})

test('connect, `online` and a visible page skip the back-off', async () => {
  const page = new EventTarget()
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
  const made = await connected()
  made.socket.drop()
  page.dispatchEvent(new Event('online'))
  await settled()
  expect(made.sockets).toHaveLength(2)
  made.socket.drop()
  made.client.connect()
  await settled()
  expect(made.sockets).toHaveLength(3)
  made.socket.accept()
  page.dispatchEvent(new Event('online'))
  expect(made.socket.sent).toEqual([{ type: 'ping' }])
  made.client.disconnect()
  page.dispatchEvent(new Event('online'))
  await settled()
  expect(made.sockets).toHaveLength(3)
})

test('`offline` checks the connection at once', async () => {
  const page = new EventTarget()
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
  const made = await connected()
  page.dispatchEvent(new Event('offline'))
  expect(made.socket.sent).toEqual([{ type: 'ping' }])
  expect(made.client.status).toBe('connected')
  await made.clock.pass(5_000)
  expect(made.client.status).toBe('reconnecting')
  made.client.disconnect()
})

test('a platform without WebSocket gets a helpful error', async () => {
  vi.stubGlobal('WebSocket', undefined)
  const made = bench()
  const { createClient } = await import('../../src/index.js')
  const client = createClient({ url: 'http://server', onError: ({ code }) => made.errors.push(code) })
  await expect(client.connect()).rejects.toThrow(/pass `WebSocket`/)
  expect(client.status).toBe('disconnected')
})

test('an unreadable frame is reported and the connection stays open', async () => {
  const made = await connected()
  made.socket.onmessage?.({ data: 'hello' })
  expect(made.errors).toEqual(['bad_message'])
  expect(made.client.status).toBe('connected')
})
