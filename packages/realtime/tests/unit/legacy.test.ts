/** Names of the published SDKs that this client keeps. */
import { expect, test } from 'vitest'
import { bench, connected, settled } from '../support/network.js'

test('sdk.realtime is the client', () => {
  const { client } = bench()
  expect(client.realtime).toBe(client)
})

test('connected follows the status', async () => {
  const made = bench()
  expect(made.client.connected).toBe(false)
  made.client.connect()
  await settled()
  made.socket.accept()
  expect(made.client.connected).toBe(true)
})

test('sendChat waits for the connection', async () => {
  const made = bench()
  made.client.sendChat('general', 'hello', { mood: 'good' })
  await settled()
  made.socket.accept()
  made.client.sendChat('general', 'again')
  expect(made.socket.sent).toEqual([
    { type: 'chat', roomId: 'general', text: 'hello', metadata: { mood: 'good' } },
    { type: 'chat', roomId: 'general', text: 'again' },
  ])
})

test('sendChat refuses a text that is too large', async () => {
  const { client } = await connected()
  expect(() => client.sendChat('general', 'x'.repeat(70_000))).toThrow(
    expect.objectContaining({ code: 'too_large' }),
  )
})

test('a chat room receives chat messages by their type', async () => {
  const made = await connected()
  const heard: unknown[] = []
  made.client
    .chatRoom('general')
    .on('chat_message', ({ type, event, data }) => heard.push([type, event, data.text]))
    .subscribe()
  made.socket.subscribed()
  const data = { roomId: 'general', text: 'hello', userId: 'ada' }
  const frame = { topic: 'chat/general/default', data, event: 'chat_message' }
  made.socket.say({ ...frame, type: 'chat_message', cursor: 'e:1' })
  made.socket.say({ ...frame, type: 'event', cursor: 'e:2' })
  expect(heard).toEqual([
    ['chat_message', 'chat_message', 'hello'],
    ['event', 'chat_message', 'hello'],
  ])
})

test('maxReconnectAttempts ends in disconnected, until connect', async () => {
  const made = bench({ maxReconnectAttempts: 2 })
  let exceeded = 0
  made.client.onMaxRetriesExceeded(() => exceeded++)
  const connecting = made.client.connect()
  await settled()
  for (let attempt = 0; attempt < 3; attempt++) {
    made.socket.drop()
    await made.clock.pass(30_000)
  }
  expect(made.sockets).toHaveLength(3)
  expect(made.client.status).toBe('disconnected')
  expect(exceeded).toBe(1)
  await expect(connecting).rejects.toMatchObject({ code: 'network', retryable: true })
  made.client.connect()
  await settled()
  made.socket.accept()
  expect(made.client.status).toBe('connected')
})

test('attempts count from the last success', async () => {
  const made = bench({ maxReconnectAttempts: 1 })
  made.client.connect()
  await settled()
  for (let round = 0; round < 3; round++) {
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
  }
  expect(made.client.status).toBe('connected')
})
