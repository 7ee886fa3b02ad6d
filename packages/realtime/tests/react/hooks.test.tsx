// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { useEffect } from 'react'
import { afterEach, describe, expect, test } from 'vitest'
import { useChannel, useEvent, usePresence, useStatus, useTable } from '../../src/react/index.js'
import { bench, connected, settled } from '../support/network.js'
import { CHAT, ORDERS, say, types, within } from '../support/page.js'

afterEach(cleanup)

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

  test('useChannel returns one channel, subscribed while mounted', async () => {
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

  test('usePresence keeps its array and updates its state in place', async () => {
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

test('useChannel, useEvent and useTable pass the slow policy on', async () => {
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
