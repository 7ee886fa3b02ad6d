// @vitest-environment happy-dom
import { act, cleanup, render, screen } from '@testing-library/react'
import { afterEach, describe, expect, test } from 'vitest'
import { connected, settled } from '../support/network.js'
import { say, types, within } from '../support/page.js'
import { reference } from '../support/reference.js'

afterEach(cleanup)

const ChatRoom = await reference('ChatRoom')
const OnlineUsers = await reference('OnlineUsers')

describe('the reference', () => {
  test('ChatRoom shows each message once, in StrictMode', async () => {
    const made = await connected()
    render(<ChatRoom roomId="1" />, { wrapper: within(made) })
    expect(types(made)).toEqual(['subscribe'])
    made.socket.subscribed()
    say(made, 'message', { id: 1, user: 'Bob', text: 'hello' }, 'e:1')
    expect(screen.getAllByText('Bob: hello')).toHaveLength(1)
  })

  test('unmounting one ChatRoom does not affect another', async () => {
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

  test('another room leads to another subscription', async () => {
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

  test('OnlineUsers is present and shows members who join and leave', async () => {
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
