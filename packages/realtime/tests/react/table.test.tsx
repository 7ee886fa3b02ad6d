// @vitest-environment happy-dom
import { act, cleanup, render, renderHook } from '@testing-library/react'
import { memo, Suspense, startTransition, use } from 'react'
import { afterEach, describe, expect, test } from 'vitest'
import { AerostackProvider, useTable } from '../../src/react/index.js'
import { type Bench, connected, settled } from '../support/network.js'
import { ORDERS, types, within } from '../support/page.js'

afterEach(cleanup)

const NEVER = new Promise(() => {})
function Orders({ status }: { status: string }) {
  const { rows } = useTable('orders', { filter: { status } })
  if (status === 'never there') use(NEVER)
  return `${rows.length} ${status}`
}

const rendered: number[] = []
const Item = memo(({ order }: { order: { id: number } }) => {
  rendered.push(order.id)
  return <li>{order.id}</li>
})
function List() {
  return useTable<{ id: number }>('orders').rows.map((order) => <Item key={order.id} order={order} />)
}

describe('useTable', () => {
  function change(
    made: Bench,
    operation: 'INSERT' | 'UPDATE' | 'DELETE',
    data: object,
    cursor: string,
  ): void {
    act(() => made.socket.say({ type: 'db_change', topic: ORDERS, operation, data: { ...data }, cursor }))
  }

  async function snapshot(made: Bench, rows: object[], cursor = 'c:0'): Promise<void> {
    await act(async () => {
      made.socket.snapshot(rows, cursor)
      await settled()
    })
  }

  test('shows the rows of the view, then their changes', async () => {
    const made = await connected()
    const options = { filter: { status: 'open' }, order: 'id', limit: 2 } as const
    const { result } = renderHook(() => useTable('orders', { ...options }), { wrapper: within(made) })
    expect(result.current).toMatchObject({ rows: [], loading: true, error: null })
    expect(made.socket.last('subscribe')).toMatchObject({
      filter: { status: 'open' },
      snapshot: { order: 'id', limit: 7 },
    })
    await snapshot(made, [{ id: 2 }, { id: 4 }])
    expect(result.current).toEqual({
      rows: [{ id: 2 }, { id: 4 }],
      loading: false,
      stale: false,
      error: null,
    })
    const [, four] = result.current.rows
    change(made, 'INSERT', { id: 3 }, 'c:1')
    expect(result.current.rows).toEqual([{ id: 2 }, { id: 3 }])
    change(made, 'DELETE', { id: 2 }, 'c:2')
    expect(result.current.rows).toEqual([{ id: 3 }, { id: 4 }])
    expect(result.current.rows[1]).toBe(four)
    expect(types(made)).toEqual(['subscribe'])
  })

  test('starts with initial rows and keeps those that are equal', async () => {
    const made = await connected()
    const initial = [{ id: 1 }, { id: 2, n: 0 }]
    const { result } = renderHook(() => useTable('orders', { initial }), { wrapper: within(made) })
    expect(result.current).toMatchObject({ rows: initial, loading: false, stale: true })
    await snapshot(made, [{ id: 1 }, { id: 2, n: 1 }])
    expect(result.current).toMatchObject({ rows: [{ id: 1 }, { id: 2, n: 1 }], stale: false })
    expect(result.current.rows[0]).toBe(initial[0])
  })

  test('components with the same options share rows, late ones too', async () => {
    const made = await connected()
    const wrapper = within(made)
    const one = renderHook(() => useTable('orders'), { wrapper })
    const two = renderHook(() => useTable('table/orders', {}), { wrapper })
    await snapshot(made, [{ id: 1 }])
    const three = renderHook(() => useTable('orders'), { wrapper })
    expect(two.result.current).toBe(one.result.current)
    expect(three.result.current).toBe(one.result.current)
    expect(types(made)).toEqual(['subscribe'])
    for (const { unmount } of [one, two, three]) unmount()
    await act(settled)
    expect(types(made)).toEqual(['subscribe', 'unsubscribe'])
  })

  test('renders only the items that changed', async () => {
    const made = await connected()
    render(<List />, {
      wrapper: ({ children }) => <AerostackProvider client={made.client}>{children}</AerostackProvider>,
    })
    await snapshot(made, [{ id: 1 }, { id: 2 }, { id: 3 }])
    expect(rendered.splice(0)).toEqual([1, 2, 3])
    change(made, 'UPDATE', { id: 2, status: 'paid' }, 'c:1')
    expect(rendered.splice(0)).toEqual([2])
  })

  test('an abandoned render sends no request', async () => {
    const made = await connected()
    const page = (status: string) => (
      <AerostackProvider client={made.client}>
        <Suspense fallback="…">
          <Orders status={status} />
        </Suspense>
      </AerostackProvider>
    )
    const view = render(page('open'))
    await snapshot(made, [{ id: 1 }])
    await act(async () => startTransition(() => view.rerender(page('never there'))))
    expect(view.container.textContent).toBe('1 open')
    change(made, 'INSERT', { id: 2 }, 'c:1')
    expect(view.container.textContent).toBe('2 open')
    expect(types(made)).toEqual(['subscribe'])
  })

  test('other options lead to other rows', async () => {
    const made = await connected()
    const { result, rerender } = renderHook(({ status }) => useTable('orders', { filter: { status } }), {
      wrapper: within(made),
      initialProps: { status: 'open' },
    })
    await snapshot(made, [{ id: 1 }])
    rerender({ status: 'paid' })
    await act(settled)
    expect(result.current).toMatchObject({ rows: [], loading: true })
    await snapshot(made, [{ id: 2 }], 'c:1')
    made.socket.subscribed('c:1', true)
    await act(settled)
    expect(result.current.rows).toEqual([{ id: 2 }])
  })

  test('returns the error when there are no rows', async () => {
    const made = await connected()
    const { result } = renderHook(() => useTable('ordres'), { wrapper: within(made) })
    const { id = '' } = made.socket.last('subscribe')
    await act(async () => {
      made.socket.say({ type: 'error', code: 'not_found', message: 'No such table.', retryable: false, id })
      await settled()
    })
    expect(result.current).toMatchObject({ loading: false, error: { code: 'not_found' } })
  })
})
