import { act } from '@testing-library/react'
import { type ReactNode, StrictMode } from 'react'
import { AerostackProvider } from '../../src/react/index.js'
import type { Bench } from './network.js'

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
