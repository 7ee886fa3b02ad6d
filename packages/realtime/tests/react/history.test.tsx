// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { afterEach, describe, expect, test } from 'vitest'
import { AerostackProvider, useHistory } from '../../src/react/index.js'
import { connected, settled } from '../support/network.js'
import { CHAT, say, types, within } from '../support/page.js'

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

/** Uses every hook that must work on a server. */
