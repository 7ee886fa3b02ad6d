// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { afterEach, describe, expect, test } from 'vitest'
import {
  AerostackProvider,
  useAerostack,
  useRealtimeStatus,
  useStatus,
  useSubscription,
} from '../../src/react/index.js'
import { bench, connected, settled, TestClock, TestSocket } from '../support/network.js'
import { ORDERS, say, types, within } from '../support/page.js'

afterEach(cleanup)

describe('useSubscription', () => {
  test('returns the last payload', async () => {
    const made = await connected()
    const { result, unmount } = renderHook(() => useSubscription('chat/1'), { wrapper: within(made) })
    expect(result.current).toEqual({ data: null, error: null, loading: true })
    await act(async () => made.socket.subscribed())
    expect(result.current.loading).toBe(false)
    say(made, 'message', 'hello', 'e:1')
    expect(result.current).toMatchObject({
      data: { event: 'message', data: 'hello' },
      error: null,
      loading: false,
    })
    unmount()
    await settled()
    expect(types(made)).toEqual(['subscribe', 'unsubscribe'])
  })

  test('passes its filter on', async () => {
    const made = await connected()
    renderHook(() => useSubscription('orders', { filter: { status: 'open' } }), { wrapper: within(made) })
    expect(made.socket.last('subscribe')).toMatchObject({ topic: ORDERS, filter: { status: 'open' } })
  })

  test('returns the refusal of the server', async () => {
    const made = await connected()
    const { result } = renderHook(() => useSubscription('ordres'), { wrapper: within(made) })
    const { id = '' } = made.socket.last('subscribe')
    await act(async () =>
      made.socket.say({ type: 'error', code: 'not_found', message: 'No such table.', retryable: false, id }),
    )
    expect(result.current).toMatchObject({ data: null, error: { code: 'not_found' }, loading: false })
    expect(made.errors).toEqual([])
  })
})

test('useRealtimeStatus is useStatus', () => {
  expect(useRealtimeStatus).toBe(useStatus)
})

test('sdk.realtime is the client', () => {
  const made = bench()
  const { result } = renderHook(() => useAerostack(), { wrapper: within(made) })
  expect(result.current.sdk.realtime).toBe(made.client)
})

test('the provider takes baseUrl and maxReconnectAttempts', async () => {
  const clock = new TestClock()
  const sockets: TestSocket[] = []
  class Network extends TestSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const { result } = renderHook(() => useStatus(), {
    wrapper: ({ children }) => (
      <AerostackProvider
        baseUrl="https://server/v1"
        maxReconnectAttempts={0}
        onError={() => {}}
        options={{ WebSocket: Network, clock }}
      >
        {children}
      </AerostackProvider>
    ),
  })
  await act(settled)
  expect(sockets[0]?.url.origin).toBe('wss://server')
  act(() => sockets[0]?.drop())
  expect(result.current).toBe('disconnected')
})
