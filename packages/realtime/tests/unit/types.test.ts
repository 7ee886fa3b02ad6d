/** Types that apps rely on. The compiler checks them (`npm run check`); nothing here runs. */
import { expectTypeOf, test } from 'vitest'
import type { Client, Filter } from '../../src/index.js'
import { useEvent, useTable } from '../../src/react/index.js'
import { liveTable } from '../../src/table/index.js'

interface Order {
  id: number
  status: 'open' | 'paid'
  total: string
  note: string | null
}

interface Typing {
  user: string
}

function useTotal() {
  // @ts-expect-error: there is no such status
  useTable<Order>('orders', { filter: { status: 'lost' } })
  return useTable<Order>('orders', { filter: { status: { ne: 'paid' } } }).rows[0]?.total
}

function useTyping() {
  useEvent<Typing>('chat/1', 'typing', ({ data }) => data.user.length)
  useEvent<{ typing: Typing }, 'typing'>('chat/1', 'typing', ({ data }) => data.user.length)
  useEvent('chat/1', 'typing', ({ data }) => data.anything)
  // @ts-expect-error: a typing event has no such member
  useEvent<Typing>('chat/1', 'typing', ({ data }) => data.name)
}

test('a filter is checked against the row', () => {
  const filters: Filter<Order>[] = [
    { status: 'open' },
    { id: { gte: 1, lt: 10 }, status: { in: ['open', 'paid'] } },
    { total: { gt: 9.5 } },
    { note: null },
    // @ts-expect-error: there is no such column
    { colour: 'red' },
    // @ts-expect-error: there is no such status
    { status: 'lost' },
    // @ts-expect-error: an id is a number
    { id: { gt: 'one' } },
  ]
  const untyped: Filter = { anything: { ne: null }, else: 1 }
  expectTypeOf([filters, untyped]).toBeArray()
})

test('tables check their options against the row', () => {
  const use = (client: Client) => [
    liveTable<Order>(client, 'orders', { filter: { status: 'open' }, order: '-id', key: 'id' }),
    // @ts-expect-error: there is no such column
    liveTable<Order>(client, 'orders', { filter: { state: 'open' } }),
    liveTable(client, 'orders', { filter: { anything: 1 } }).rows[0]?.anything,
  ]
  expectTypeOf(use).toBeFunction()
  expectTypeOf(useTotal).returns.toEqualTypeOf<string | undefined>()
})

test('useEvent takes the type of the data or of all events', () => {
  expectTypeOf(useTyping).toBeFunction()
})

test('the promise of subscribe is a promise of the channel', () => {
  const use = async (client: Client) => {
    const subscribing = client.channel<{ typing: Typing }>('chat/1').subscribe()
    subscribing.on('typing', ({ data }) => data.user).unsubscribe()
    return (await subscribing).cursor
  }
  expectTypeOf(use).returns.resolves.toEqualTypeOf<string | undefined>()
})
