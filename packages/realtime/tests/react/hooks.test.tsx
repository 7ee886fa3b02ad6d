// @vitest-environment happy-dom
import { act, cleanup, render, renderHook, screen } from '@testing-library/react'
import { memo, type ReactNode, StrictMode, Suspense, startTransition, use, useEffect } from 'react'
import { renderToString } from 'react-dom/server'
import { afterEach, describe, expect, test } from 'vitest'
import {
  AerostackProvider,
  useAerostack,
  useAuth,
  useChannel,
  useEvent,
  useHistory,
  usePresence,
  useStatus,
  useTable,
} from '../../src/react/index.js'
import { type Bench, bench, connected, settled } from '../support/network.js'
import { reference } from '../support/reference.js'

afterEach(cleanup)

const ChatRoom = await reference('ChatRoom')
const OnlineUsers = await reference('OnlineUsers')

const CHAT = 'chat/1/default'
const ORDERS = 'table/orders/default'

function within(made: Bench): ({ children }: { children: ReactNode }) => ReactNode {
  return ({ children }) => (
    <StrictMode>
      <AerostackProvider client={made.client} user={{ id: 'ada', name: 'Ada' }}>
        {children}
      </AerostackProvider>
    </StrictMode>
  )
}

function types(made: Bench): string[] {
  return made.socket.sent.map(({ type }) => type)
}

function say(made: Bench, event: string, data: unknown, cursor: string, userId?: string): void {
  act(() =>
    made.socket.say({
      type: 'event',
      topic: CHAT,
      event,
      data,
      cursor,
      id: `m-${cursor}`,
      timestamp: 1,
      userId,
    }),
  )
}

describe('the reference', () => {
  test('ChatRoom shows each message once, in StrictMode', async () => {
    const made = await connected()
    render(<ChatRoom roomId="1" />, { wrapper: within(made) })
    expect(types(made)).toEqual(['subscribe'])
    made.socket.subscribed()
    say(made, 'message', { id: 1, user: 'Bob', text: 'hello' }, 'e:1')
    expect(screen.getAllByText('Bob: hello')).toHaveLength(1)
  })

  test('leaving one of two ChatRooms leaves the other its messages', async () => {
    const made = await connected()
    const one = render(<ChatRoom roomId="1" />, { wrapper: within(made) })
    render(<ChatRoom roomId="1" />, { wrapper: within(made) })
    made.socket.subscribed()
    one.unmount()
    await settled()
    say(made, 'message', { id: 1, user: 'Bob', text: 'hello' }, 'e:1')
    expect(screen.getAllByText('Bob: hello')).toHaveLength(1)
    expect(types(made)).toEqual(['subscribe'])
  })

  test('another room is another subscription', async () => {
    const made = await connected()
    const view = render(<ChatRoom roomId="1" />, { wrapper: within(made) })
    view.rerender(<ChatRoom roomId="2" />)
    await settled()
    expect(made.socket.sent.map((frame) => 'topic' in frame && `${frame.type} ${frame.topic}`)).toEqual([
      'subscribe chat/1/default',
      'subscribe chat/2/default',
      'unsubscribe chat/1/default',
    ])
  })

  test('OnlineUsers is present and shows who is, and who leaves', async () => {
    const made = await connected()
    const view = render(<OnlineUsers roomId="1" />, { wrapper: within(made) })
    await settled()
    expect(made.socket.last('track').state).toMatchObject({ userId: 'ada', name: 'Ada' })
    made.socket.subscribed()
    const bob = { userId: 'bob', name: 'Bob', color: '#000' }
    const frame = { type: 'event', topic: 'room/1/default', data: bob, userId: 'bob' } as const
    act(() => made.socket.say({ ...frame, event: 'presence:join', snapshot: true }))
    expect(screen.getByText('1 online')).toBeTruthy()
    expect(screen.getByText('Bob')).toBeTruthy()
    act(() => made.socket.say({ ...frame, event: 'presence:leave', cursor: 'e:1' }))
    expect(screen.getByText('0 online')).toBeTruthy()
    view.unmount()
    await settled()
    expect(types(made).slice(-2)).toEqual(['untrack', 'unsubscribe'])
  })
})

describe('hooks', () => {
  test('useStatus follows the connection', async () => {
    const made = bench()
    const { result } = renderHook(() => useStatus(), { wrapper: within(made) })
    expect(result.current).toBe('idle')
    await act(async () => {
      made.client.connect()
      await settled()
    })
    expect(result.current).toBe('connecting')
    act(() => made.socket.accept())
    expect(result.current).toBe('connected')
  })

  test('useEvent calls the latest listener', async () => {
    const made = await connected()
    const heard: string[] = []
    const { rerender } = renderHook(
      ({ name }) => useEvent('chat/1', 'message', ({ data }) => heard.push(`${name} ${data}`)),
      { wrapper: within(made), initialProps: { name: 'first' } },
    )
    made.socket.subscribed()
    say(made, 'message', 1, 'e:1')
    rerender({ name: 'second' })
    say(made, 'message', 2, 'e:2')
    expect(heard).toEqual(['first 1', 'second 2'])
    expect(types(made)).toEqual(['subscribe'])
  })

  test('useChannel is one channel through renders, subscribed while mounted', async () => {
    const made = await connected()
    const heard: unknown[] = []
    const { result, rerender, unmount } = renderHook(
      () => {
        const channel = useChannel('chat/1')
        useEffect(() => {
          channel.on('message', ({ data }) => heard.push(data))
        }, [channel])
        return channel
      },
      { wrapper: within(made) },
    )
    const before = result.current
    rerender()
    expect(result.current).toBe(before)
    made.socket.subscribed()
    say(made, 'message', 1, 'e:1')
    expect(heard).toEqual([1])
    unmount()
    await settled()
    expect(types(made)).toEqual(['subscribe', 'unsubscribe'])
  })

  test('usePresence shares members, keeps its array while nothing changes, and updates its state in place', async () => {
    const made = await connected()
    const { result, rerender, unmount } = renderHook(
      ({ at }) => usePresence('chat/1', { userId: 'ada', at }),
      {
        wrapper: within(made),
        initialProps: { at: 1 },
      },
    )
    await settled()
    made.socket.subscribed()
    say(made, 'presence:join', { userId: 'bob' }, 'e:1', 'bob')
    const members = result.current
    expect(members.map(({ userId }) => userId)).toEqual(['bob'])
    rerender({ at: 2 })
    expect(result.current).toBe(members)
    expect(made.socket.last('track').state).toEqual({ userId: 'ada', at: 2 })
    await settled()
    expect(types(made)).not.toContain('untrack')
    unmount()
    await settled()
    expect(types(made)).toContain('untrack')
  })

  test('a component that mounts later sees who is present', async () => {
    const made = await connected()
    renderHook(() => usePresence('chat/1'), { wrapper: within(made) })
    made.socket.subscribed()
    say(made, 'presence:join', { userId: 'bob' }, 'e:1', 'bob')
    const { result } = renderHook(() => usePresence('chat/1'), { wrapper: within(made) })
    expect(result.current).toHaveLength(1)
  })
})

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

test('what the server does while this page is slow is asked for by useChannel, useEvent and useTable', async () => {
  const made = await connected()
  renderHook(
    () => {
      useChannel('chat/1', { slow: 'latest', key: 'id' })
      useEvent('chat/1', 'moved', () => {}, { slow: 'latest', key: 'id' })
      useTable('orders', { slow: 'latest' })
    },
    { wrapper: within(made) },
  )
  const asked = made.socket.sent.filter((frame) => frame.type === 'subscribe')
  expect(asked).toMatchObject([
    { topic: CHAT, slow: 'latest', key: 'id' },
    { topic: ORDERS, slow: 'latest', key: ['id'] },
  ])
})

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

  test('shows the rows of the view, then what becomes of them', async () => {
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

  test('begins with rows it was given, and keeps those that are as they were', async () => {
    const made = await connected()
    const initial = [{ id: 1 }, { id: 2, n: 0 }]
    const { result } = renderHook(() => useTable('orders', { initial }), { wrapper: within(made) })
    expect(result.current).toMatchObject({ rows: initial, loading: false, stale: true })
    await snapshot(made, [{ id: 1 }, { id: 2, n: 1 }])
    expect(result.current).toMatchObject({ rows: [{ id: 1 }, { id: 2, n: 1 }], stale: false })
    expect(result.current.rows[0]).toBe(initial[0])
  })

  test('two components with the same options share one, and a third that comes later has its rows at once', async () => {
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

  test('a render that is thrown away asks for nothing', async () => {
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

  test('other options are other rows', async () => {
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

  test('says why there are no rows', async () => {
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

describe('useHistory', () => {
  const message = (n: number) => ({
    id: `m-e:${n}`,
    room_id: CHAT,
    user_id: 'bob',
    event: 'message',
    data: n,
    created_at: n,
  })

  test('shows pages oldest first, and live messages once', async () => {
    const fetch = async () => new Response(JSON.stringify({ messages: [message(4), message(3)] }))
    const made = await connected({ fetch })
    const { result } = renderHook(() => useHistory('chat/1', { pageSize: 2, live: 'message' }), {
      wrapper: within(made),
    })
    await act(async () => {
      made.socket.subscribed()
      await settled()
    })
    expect(result.current).toMatchObject({ loading: false, hasMore: true, error: null })
    expect(result.current.messages.map(({ data }) => data)).toEqual([3, 4])
    say(made, 'message', 4, 'e:4')
    say(made, 'message', 5, 'e:5')
    expect(result.current.messages.map(({ id }) => id).toSorted()).toEqual(['m-e:3', 'm-e:4', 'm-e:5'])
  })

  test('loadMore goes back until there is no more', async () => {
    const pages = [[message(4), message(3)], [message(2), message(1)], []]
    const asked: (string | null)[] = []
    const fetch = async (url: unknown) => {
      asked.push(new URL(url as string).searchParams.get('before'))
      return new Response(JSON.stringify({ messages: pages[asked.length - 1] }))
    }
    const made = await connected({ fetch })
    const { result } = renderHook(() => useHistory('chat/1', { pageSize: 2 }), {
      wrapper: ({ children }) => <AerostackProvider client={made.client}>{children}</AerostackProvider>,
    })
    await act(settled)
    await act(() => result.current.loadMore())
    expect(result.current.messages.map(({ data }) => data)).toEqual([1, 2, 3, 4])
    expect(result.current.hasMore).toBe(true)
    await act(() => result.current.loadMore())
    expect(result.current.hasMore).toBe(false)
    expect(asked).toEqual([null, '3', '1'])
    expect(types(made)).toEqual([])
  })
})

/** Uses everything that has to work on a server. */
function Page() {
  const { projectId } = useAerostack()
  const status = useStatus()
  const members = usePresence('chat/1', { at: 1 })
  const { rows } = useTable('orders', { initial: [{ id: 1 }] })
  const { messages } = useHistory('chat/1')
  return <p>{`${projectId} ${status} ${members.length} ${rows.length} ${messages.length}`}</p>
}

describe('the provider', () => {
  const token = (claims: object) => `h.${btoa(JSON.stringify(claims))}.s`

  test('a token’s claims are the user; signing in and out changes it', async () => {
    const made = await connected()
    const { result } = renderHook(() => useAuth(), {
      wrapper: ({ children }) => <AerostackProvider client={made.client}>{children}</AerostackProvider>,
    })
    expect(result.current.user).toMatchObject({ name: 'Anonymous', anonymous: true })
    const ada = token({ sub: 'u1', name: 'Ada', role: 'admin' })
    act(() => result.current.signIn(ada))
    expect(result.current.user).toMatchObject({ id: 'u1', name: 'Ada', role: 'admin' })
    expect(made.client.token).toBe(ada)
    expect(made.socket.last('auth').token).toBe(ada)
    await act(async () => {
      result.current.signOut()
      await settled()
    })
    expect(result.current.token).toBeNull()
    expect(made.socket.protocols).toEqual(['aerostack-v1'])
  })

  test('a given user is the same object through renders', async () => {
    const made = await connected()
    const { result, rerender } = renderHook(() => useAuth(), { wrapper: within(made) })
    const { user } = result.current
    rerender()
    expect(result.current.user).toBe(user)
  })

  test('makes one client, connects it on mount and leaves on unmount, in StrictMode too', async () => {
    const made = bench()
    const sockets: string[] = []
    const Network = class {
      onmessage = null
      onclose = null
      onerror = null
      constructor(url: string) {
        sockets.push(url)
      }
      send(): void {}
      close(): void {
        sockets.push('closed')
      }
    }
    const view = render(
      <StrictMode>
        <AerostackProvider
          url="http://server"
          projectId="shop"
          userId="ada"
          options={{ WebSocket: Network, clock: made.clock }}
        />
      </StrictMode>,
    )
    await settled()
    expect(sockets).toEqual(['ws://server/api/realtime?projectId=shop&userId=ada'])
    view.unmount()
    await new Promise((resolve) => setTimeout(resolve))
    expect(sockets.at(-1)).toBe('closed')
  })

  test('renders on a server, where nothing connects', () => {
    const made = bench()
    const html = renderToString(
      <AerostackProvider client={made.client}>
        <Page />
      </AerostackProvider>,
    )
    expect(html).toBe('<p>default idle 0 1 0</p>')
    expect(made.sockets).toHaveLength(0)
  })

  test('a hook without it says so', () => {
    expect(() => renderToString(<Page />)).toThrow('useAerostack needs an <AerostackProvider> above it.')
  })
})
