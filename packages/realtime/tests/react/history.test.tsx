// @vitest-environment happy-dom

import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import { afterEach, describe, expect, test } from 'vitest'
import { AerostackProvider, useHistory } from '../../src/react/index.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected, settled } from '../support/network.js'
import { append, CHAT, say, stream, subscribed, types, within } from '../support/page.js'
import '../support/patience.js'

afterEach(cleanup)

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
    await subscribed(made)
    await loaded(result)
    expect(result.current).toMatchObject({ hasMore: true, error: null })
    expect(result.current.messages.map(({ data }) => data)).toEqual([3, 4])
    say(made, 'message', 4, 'e:4')
    say(made, 'message', 5, 'e:5')
    await waitFor(() => expect(result.current.messages).toHaveLength(3))
    expect(result.current.messages.map(({ id }) => id).toSorted()).toEqual(['m-e:3', 'm-e:4', 'm-e:5'])
  })

  test('shows streams as they grow, in their place, and stops them', async () => {
    const stored = { ...message(3), id: 's', data: 'st', n: 1, state: 'open' }
    const fetch = async () => new Response(JSON.stringify({ messages: [message(4), stored] }))
    const made = await connected({ fetch })
    const { result } = renderHook(() => useHistory<unknown>('chat/1', { live: ['message', 'answer'] }), {
      wrapper: within(made),
    })
    await eventually(() => expect(made.socket.last('subscribe').streams).toBe(true))
    act(() => {
      made.socket.subscribed()
      stream(made, 'stre', 2)
    })
    await act(settled)
    await waitFor(() => expect(result.current.messages[0]).toMatchObject({ data: 'stre', state: 'open' }))
    append(made, 'am', 2, 'complete')
    await waitFor(() =>
      expect(result.current.messages[0]).toMatchObject({ data: 'stream', state: 'complete' }),
    )
    expect(result.current.messages.map(({ created_at }) => created_at)).toEqual([3, 4])
    act(() => void result.current.stop('s', 'Enough.'))
    expect(made.socket.last('cancel')).toMatchObject({ id: 's', reason: 'Enough.' })
  })

  test('begins with stored messages on the same connection, in one render', async () => {
    const made = await connected({ fetch: () => Promise.reject(new Error('nothing is fetched')) })
    const lengths: number[] = []
    const { result } = renderHook(
      () => {
        const history = useHistory('chat/1', { pageSize: 30, live: 'message' })
        lengths.push(history.messages.length)
        return history
      },
      { wrapper: within(made) },
    )
    await eventually(() => expect(made.socket.last('subscribe').history).toBe(30))
    await act(settled)
    act(() => {
      made.socket.subscribed('e:0', null, 30)
      for (let n = 1; n <= 30; n++) store(made, n === 1 ? 'title' : 'message', n)
      stream(made, 'grows', 2) // of an event that is not shown live
      store(made, 'typing', 31)
    })
    await waitFor(() => expect(result.current.loading).toBe(false))
    expect(result.current.messages.map(({ data }) => data)).toEqual(
      Array.from({ length: 30 }, (_, n) => n + 1),
    )
    expect(result.current.hasMore).toBe(true)
    expect(new Set(lengths)).toEqual(new Set([0, 30]))
    act(() => store(made, 'message', 32))
    await waitFor(() => expect(result.current.messages.at(-1)?.data).toBe(32))
  })

  test('an empty channel is loaded at once', async () => {
    const made = await connected({ fetch: () => Promise.reject(new Error('nothing is fetched')) })
    const { result } = renderHook(() => useHistory('chat/1', { live: 'message' }), { wrapper: within(made) })
    await eventually(() => made.socket.last('subscribe'))
    await act(settled)
    act(() => made.socket.subscribed('e:0', null, 0))
    expect(result.current).toMatchObject({ loading: false, hasMore: false, messages: [], error: null })
  })

  test('a second component on the topic fetches the page', async () => {
    const fetch = async () => new Response(JSON.stringify({ messages: [message(4), message(3)] }))
    const made = await connected({ fetch })
    renderHook(() => useHistory('chat/1', { live: 'message' }), { wrapper: within(made) })
    await eventually(() => made.socket.last('subscribe'))
    await act(settled)
    act(() => made.socket.subscribed('e:0', null, 0))
    const second = renderHook(() => useHistory('chat/1', { live: 'message' }), { wrapper: within(made) })
    await loaded(second.result)
    expect(second.result.current.messages.map(({ data }) => data)).toEqual([3, 4])
  })

  test('without the right to the history new messages are shown', async () => {
    const refusal = { error: { code: 'forbidden', message: 'No.' } }
    const fetch = async () => new Response(JSON.stringify(refusal), { status: 403 })
    const made = await connected({ fetch })
    const { result } = renderHook(() => useHistory('chat/1', { live: 'message' }), { wrapper: within(made) })
    await eventually(() => made.socket.last('subscribe'))
    await act(settled)
    const { id } = made.socket.last('subscribe')
    const error = {
      type: 'error',
      code: 'forbidden',
      message: 'No.',
      retryable: false,
      id,
      topic: CHAT,
    } as const
    act(() => made.socket.say(error))
    await eventually(() => expect(made.socket.last('subscribe').history).toBeUndefined())
    await act(settled)
    act(() => made.socket.subscribed())
    await waitFor(() => expect(result.current.error).toMatchObject({ code: 'forbidden' }))
    say(made, 'message', 'new', 'e:1')
    await waitFor(() => expect(result.current.messages.map(({ data }) => data)).toEqual(['new']))
  })

  test('loadMore loads older pages until the last one', async () => {
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
    await loaded(result)
    await act(() => result.current.loadMore())
    expect(result.current.messages.map(({ data }) => data)).toEqual([1, 2, 3, 4])
    expect(result.current.hasMore).toBe(true)
    await act(() => result.current.loadMore())
    expect(result.current.hasMore).toBe(false)
    expect(asked).toEqual([null, '3', '1'])
    expect(types(made)).toEqual([])
  })
})

/** A stored message, or one that happens. */
function store(made: Bench, event: string, n: number): void {
  const frame = { id: `m${n}`, cursor: `e:${n}`, timestamp: n, userId: 'bob' }
  made.socket.say({ type: 'event', topic: CHAT, event, data: n, ...frame })
}

/** Resolves when the first page is there. The module that reads it is loaded on demand. */
function loaded(result: { current: { loading: boolean } }): Promise<void> {
  return waitFor(() => expect(result.current.loading).toBe(false))
}

/** Uses every hook that must work on a server. */
