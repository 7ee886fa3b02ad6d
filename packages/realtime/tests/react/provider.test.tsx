// @vitest-environment happy-dom
import { act, cleanup, render, renderHook } from '@testing-library/react'
import { StrictMode } from 'react'
import { renderToString } from 'react-dom/server'
import { afterEach, describe, expect, test } from 'vitest'
import {
  AerostackProvider,
  useAerostack,
  useAuth,
  useHistory,
  usePresence,
  useStatus,
  useTable,
} from '../../src/react/index.js'
import { bench, connected, settled } from '../support/network.js'
import { within } from '../support/page.js'

afterEach(cleanup)

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

  test('the claims of the token are the user, after signIn and signOut', async () => {
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

  test('a given user stays the same object across renders', async () => {
    const made = await connected()
    const { result, rerender } = renderHook(() => useAuth(), { wrapper: within(made) })
    const { user } = result.current
    rerender()
    expect(result.current.user).toBe(user)
  })

  test('creates one client, connected while mounted, in StrictMode too', async () => {
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

  test('renders on a server without connecting', () => {
    const made = bench()
    const html = renderToString(
      <AerostackProvider client={made.client}>
        <Page />
      </AerostackProvider>,
    )
    expect(html).toBe('<p>default idle 0 1 0</p>')
    expect(made.sockets).toHaveLength(0)
  })

  test('a hook without a provider throws', () => {
    expect(() => renderToString(<Page />)).toThrow('useAerostack needs an <AerostackProvider> above it.')
  })
})
