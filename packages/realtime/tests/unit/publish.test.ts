import { expect, test } from 'vitest'
import { bench, connected, settled } from '../support/network.js'

test('a publish resolves with its acknowledgement', async () => {
  const made = await connected()
  const acked = made.client.channel('chat/general').publish('message', { text: 'hi' }, { persist: true })
  const { id, ...frame } = made.socket.last('publish')
  expect(frame).toEqual({
    type: 'publish',
    topic: 'chat/general/default',
    event: 'message',
    data: { text: 'hi' },
    persist: true,
  })
  made.socket.say({ type: 'ack', id, cursor: 'e:1', timestamp: 5 })
  expect(await acked).toEqual({ id, cursor: 'e:1', timestamp: 5 })
})

test('a traceparent is sent with a publish and received with its event', async () => {
  const made = await connected()
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const channel = made.client.channel('chat/general')
  const heard: unknown[] = []
  channel.on('message', (payload) => heard.push(payload.traceparent))
  channel.subscribe()
  await settled()
  const { id = '', topic = '' } = made.socket.last('subscribe') as { id?: string; topic?: string }
  made.socket.say({ type: 'subscribed', topic, cursor: 'e:1', recovered: null, id })
  channel.publish('message', 1, { traceparent })
  expect(made.socket.last('publish')).toMatchObject({ traceparent })
  made.socket.say({ type: 'event', topic, event: 'message', data: 1, cursor: 'e:2', traceparent })
  await settled()
  expect(heard).toEqual([traceparent])
})

test('publishes made before the connection are sent in order', async () => {
  const made = bench()
  const channel = made.client.channel('chat/general')
  for (const n of [1, 2, 3]) channel.publish('message', n)
  await settled()
  made.socket.accept()
  expect(made.socket.sent).toMatchObject([{ data: 1 }, { data: 2 }, { data: 3 }])
})

test('only unacknowledged publishes are sent again, under their ids', async () => {
  const made = await connected()
  const channel = made.client.channel('chat/general')
  const first = channel.publish('message', 1)
  const second = channel.publish('message', 2)
  const [one, two] = made.socket.sent
  made.socket.say({ type: 'ack', id: (one as { id: string }).id })
  await first
  made.socket.drop()
  const third = channel.publish('message', 3)
  await made.clock.pass(1_000)
  made.socket.accept()
  expect(made.socket.sent).toMatchObject([two, { data: 3 }])
  for (const { id = '' } of made.socket.sent as { id?: string }[])
    made.socket.say({ type: 'ack', id, duplicate: true })
  expect(await second).toMatchObject({ duplicate: true })
  await third
})

test('changes to an object after publish have no effect', async () => {
  const made = bench()
  const data = { text: 'before' }
  made.client.channel('chat/general').publish('message', data)
  data.text = 'after'
  await settled()
  made.socket.accept()
  expect(made.socket.last('publish').data).toEqual({ text: 'before' })
})

test('a refused publish rejects with a typed error', async () => {
  const made = await connected()
  const publishing = made.client.channel('chat/general').publish('message', 1)
  const { id } = made.socket.last('publish')
  made.socket.say({ type: 'error', code: 'rate_limited', message: 'Slower.', retryable: true, id })
  await expect(publishing).rejects.toMatchObject({ code: 'rate_limited', retryable: true })
  expect(made.errors).toEqual([])
})

test('a refused publish that nobody awaits goes to onError', async () => {
  const made = await connected()
  made.client.channel('chat/general').publish('message', 1)
  const { id } = made.socket.last('publish')
  made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, id })
  await settled()
  expect(made.errors).toEqual(['forbidden'])
})

test('data without a JSON form is refused before it is sent', async () => {
  const made = await connected()
  const publishing = made.client.channel('chat/general').publish('message', 1n)
  await expect(publishing).rejects.toMatchObject({ code: 'bad_message' })
  expect(made.socket.sent).toEqual([])
})

test('a final close rejects all calls and reports one error', async () => {
  const made = await connected()
  const channel = made.client.channel('chat/general')
  const waited = channel.publish('message', 1)
  channel.publish('message', 2)
  channel.publish('message', 3)
  made.socket.drop(4403, 'Closed by an operator.')
  await expect(waited).rejects.toMatchObject({ code: 'forbidden' })
  await settled()
  expect(made.errors).toEqual(['forbidden'])
})

test('after disconnect calls wait for connect', async () => {
  const made = await connected()
  made.client.disconnect()
  const acked = made.client.channel('chat/general').publish('message', 1)
  expect(made.client.status).toBe('disconnected')
  made.client.connect()
  await settled()
  made.socket.accept()
  made.socket.say({ type: 'ack', id: made.socket.last('publish').id })
  await acked
})
