import { expect, test } from 'vitest'
import type { Filter, RealtimePayload } from '../../src/index.js'
import { event, live, reconnect, TOPIC, types } from '../support/channel.js'
import { eventually } from '../support/eventually.js'
import { connected } from '../support/network.js'

test('handles with the same filter share it on the wire', async () => {
  const made = await connected()
  made.client.channel('orders', { filter: { status: 'open' } }).subscribe()
  made.client.channel('orders', { filter: { status: 'open' } }).subscribe()
  expect(made.socket.sent).toMatchObject([{ type: 'subscribe', filter: { status: 'open' } }])
})

test('handles with different filters each receive their own view', async () => {
  const made = await connected()
  const heard: string[] = []
  const topic = 'table/orders/default'
  const subscribe = (status: string) =>
    made.client
      .channel('orders', { filter: { status } })
      .on('*', ({ operation, data }) => heard.push(`${status}: ${operation} ${data.id}`))
      .subscribe()
  const [open, paid] = [
    { id: 0, status: 'open' },
    { id: 0, status: 'paid' },
  ]
  subscribe('open')
  made.socket.subscribed('c:0')
  made.socket.say({ type: 'db_change', topic, operation: 'INSERT', data: open, cursor: 'c:1' })
  subscribe('paid')
  // nothing is delivered while the code for filters loads: the answer is followed by all events
  made.socket.say({ type: 'db_change', topic, operation: 'DELETE', data: open, old: open, cursor: 'c:2' })
  await eventually(() => expect(made.socket.sent).toHaveLength(2))
  made.socket.subscribed('c:2') // to a filter that the request for all changes will not contain
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'c:1' })
  expect(made.socket.last('subscribe').filter).toBeUndefined()
  // an event of the narrow view is ignored: the answer is followed by the change itself
  made.socket.say({ type: 'db_change', topic, operation: 'DELETE', data: open, old: open, cursor: 'c:2' })
  made.socket.subscribed('c:1', true)
  made.socket.say({ type: 'db_change', topic, operation: 'UPDATE', data: paid, old: open, cursor: 'c:2' })
  expect(heard).toEqual(['open: INSERT 0', 'open: DELETE 0', 'paid: INSERT 0'])
})

test('the answer to an earlier request is ignored', async () => {
  const made = await connected()
  const narrow = made.client.channel('orders', { filter: { status: 'open' } }).subscribe()
  const { topic, id = '' } = made.socket.last('subscribe')
  const wide = made.client.channel('orders')
  wide.subscribe()
  made.socket.say({ type: 'subscribed', topic, cursor: 'c:1', recovered: null, id })
  expect(wide.cursor).toBeUndefined()
  await eventually(() => expect(made.socket.last('subscribe').id).not.toBe(id))
  made.socket.subscribed('c:1')
  made.socket.subscribed('c:2')
  await narrow
  expect(wide.cursor).toBe('c:2')
})

test('a refused filter is an error of its handle only', async () => {
  const made = await connected()
  const heard: string[] = []
  const all = made.client.channel('orders').on('*', ({ data }) => heard.push(data.id))
  await Promise.all([all.subscribe(), made.socket.subscribed('c:0')])
  const subscribing = made.client.channel('orders', { filter: { nothing: 1 } }).subscribe()
  await eventually(() => expect(made.socket.last('subscribe').filter).toEqual({ nothing: 1 }))
  made.socket.refuse('subscribe', 'invalid_filter', false)
  await expect(subscribing).rejects.toMatchObject({ code: 'invalid_filter', topic: 'table/orders/default' })
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'c:0' })
  expect(made.socket.last('subscribe').filter).toBeUndefined()
  made.socket.subscribed('c:0', true)
  made.socket.say({
    type: 'db_change',
    topic: 'table/orders/default',
    operation: 'INSERT',
    data: { id: 1 },
    cursor: 'c:1',
  })
  expect(heard).toEqual([1])
  expect(made.errors).toEqual([])
})

test('filters that differ only in their values are checked once', async () => {
  const made = await connected()
  await Promise.all([made.client.channel('orders').subscribe(), made.socket.subscribed('c:0')])
  const follow = (filter: Filter) => made.client.channel('orders', { filter }).subscribe()
  const one = follow({ room: 'one', size: { gt: 1 } })
  await eventually(() => expect(made.socket.sent).toHaveLength(2))
  made.socket.subscribed('c:0')
  made.socket.subscribed('c:0', true)
  await one
  await follow({ room: 'two', size: { gt: 2 } })
  expect(types(made.socket)).toEqual(['subscribe', 'subscribe', 'subscribe'])
  follow({ room: 'two', size: { lt: 2 } })
  expect(made.socket.last('subscribe').filter).toEqual({ room: 'two', size: { lt: 2 } })
})

test('presence: false applies until another handle wants presence', async () => {
  const made = await connected()
  made.client.channel('chat/general', { presence: false }).subscribe()
  expect(made.socket.last('subscribe').presence).toBe(false)
  made.client.channel('chat/general').subscribe()
  expect(made.socket.last('subscribe').presence).toBeUndefined()
})

test('the slow policy is sent on subscribe and on reconnection', async () => {
  const made = await connected()
  made.client.channel('chat/general', { slow: 'latest', key: 'id' }).subscribe()
  expect(made.socket.last('subscribe')).toMatchObject({ slow: 'latest', key: 'id' })
  made.socket.subscribed()
  expect((await reconnect(made)).last('subscribe')).toMatchObject({ slow: 'latest', key: 'id', since: 'e:0' })
})

test('without a slow policy the fields are absent', async () => {
  const made = await live()
  expect(Object.keys(made.socket.last('subscribe'))).not.toContain('slow')
  expect(Object.keys(made.socket.last('subscribe'))).not.toContain('key')
})

test('handles with different slow policies receive every event', async () => {
  const made = await connected()
  const cursors = { slow: 'latest', key: 'id' } as const
  made.client.channel('chat/general', cursors).subscribe()
  made.socket.subscribed('e:1')
  made.client.channel('chat/general', { ...cursors }).subscribe()
  expect(types(made.socket)).toEqual(['subscribe'])
  const all = made.client.channel('chat/general')
  all.subscribe()
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'e:1' })
  expect(made.socket.last('subscribe').slow).toBeUndefined()
})

test('dropped events are reported as a gap with their number', async () => {
  const made = await connected()
  const heard: RealtimePayload[] = []
  const channel = made.client.channel('chat/general', { slow: 'drop' }).on('*', (each) => heard.push(each))
  channel.subscribe()
  made.socket.subscribed('e:1')
  made.socket.say(event('e:2'))
  made.socket.say({ type: 'subscribed', topic: TOPIC, cursor: 'e:9', recovered: false, dropped: 7 })
  made.socket.say(event('e:10'))
  expect(heard.map(({ event, cursor, data }) => [event, cursor, data])).toEqual([
    ['message', 'e:2', 'e:2'],
    ['gap', 'e:9', { reason: 'dropped', since: 'e:2', dropped: 7 }],
    ['message', 'e:10', 'e:10'],
  ])
  expect(channel.cursor).toBe('e:10')
})
