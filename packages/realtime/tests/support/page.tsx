import { act } from '@testing-library/react'
import { type ReactNode, StrictMode } from 'react'
import type { StreamState } from '../../src/index.js'
import type { StreamEnd } from '../../src/protocol.js'
import { AerostackProvider } from '../../src/react/index.js'
import { eventually } from './eventually.js'
import { type Bench, settled } from './network.js'

/** Shared by the tests of hooks: topics, a page around a hook, and frames of the server. */
export const CHAT = 'chat/1/default'
export const ORDERS = 'table/orders/default'

export function within(made: Bench): ({ children }: { children: ReactNode }) => ReactNode {
  return ({ children }) => (
    <StrictMode>
      <AerostackProvider client={made.client} user={{ id: 'ada', name: 'Ada' }}>
        {children}
      </AerostackProvider>
    </StrictMode>
  )
}

export function types(made: Bench): string[] {
  return made.socket.sent.map(({ type }) => type)
}

export function say(made: Bench, event: string, data: unknown, cursor: string, userId?: string): void {
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

/** Answer the subscribe of a channel with streams, whose code is loaded on demand. */
export async function subscribed(made: Bench): Promise<void> {
  await eventually(() => made.socket.last('subscribe'))
  await act(async () => {
    made.socket.subscribed()
    await settled()
  })
}

/** What there is so far of the stream `s`. */
export function stream(made: Bench, data: unknown, n: number, state: StreamState = 'open', id = 's'): void {
  const frame = { topic: CHAT, event: 'answer', id, cursor: `e:${n}`, timestamp: 3, userId: 'bob' }
  made.socket.say({ type: 'event', ...frame, data, stream: { n, state } })
}

/** Piece `n` of the stream `s`. */
export function append(made: Bench, data: string | unknown[], n: number, state?: StreamEnd, id = 's'): void {
  made.socket.say({ type: 'append', topic: CHAT, id, n, to: n + 1, cursor: `e:${n + 1}`, data, state })
}
