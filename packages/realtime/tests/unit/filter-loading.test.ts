/** The code for filters is loaded on demand. A file of its own, because it is loaded once for all tests of a file. */

import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.js'
import { connected } from '../support/network.js'

test('a filtered channel beside an unfiltered one sees only its view', async () => {
  const made = await connected()
  const heard: string[] = []
  const topic = 'table/orders/default'
  await Promise.all([made.client.channel('orders').subscribe(), made.socket.subscribed('c:0')])
  const subscribing = made.client
    .channel('orders', { filter: { status: 'open' } })
    .on('*', ({ operation, data }) => heard.push(`${operation} ${data.id}`))
    .subscribe()
  await eventually(() => expect(made.socket.last('subscribe')).toMatchObject({ filter: { status: 'open' } }))
  made.socket.subscribed('c:0')
  expect(made.socket.last('subscribe')).toMatchObject({ since: 'c:0' })
  made.socket.subscribed('c:0', true)
  await subscribing
  for (const [id, status] of ['paid', 'open'].entries())
    made.socket.say({
      type: 'db_change',
      topic,
      operation: 'INSERT',
      data: { id, status },
      cursor: `c:${id + 1}`,
    })
  expect(heard).toEqual(['INSERT 1'])
})
