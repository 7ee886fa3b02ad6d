// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { hydrateRoot } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { afterEach, expect, test } from 'vitest'
import { AerostackProvider, useAuth } from '../../src/react/index.js'
import { bench, settled, TestClock, TestSocket } from '../support/network.js'

afterEach(cleanup)

function Name() {
  const { user } = useAuth()
  return <p>{user.id}</p>
}

test('useAuth renders the same on the server and in the browser', async () => {
  const sockets: TestSocket[] = []
  class Network extends TestSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const options = { WebSocket: Network, clock: new TestClock() }
  const app = (
    <AerostackProvider url="http://server" options={options}>
      <Name />
    </AerostackProvider>
  )
  const page = document.createElement('div')
  page.innerHTML = renderToString(app)
  expect(page.textContent).toBe('anonymous')
  const mismatches: unknown[] = []
  await act(async () => {
    hydrateRoot(page, app, { onRecoverableError: (error) => mismatches.push(error) })
    await settled()
  })
  expect(mismatches).toEqual([])
  expect(page.textContent).toMatch(/^anonymous-/)
  expect(sockets.map(({ url }) => url.searchParams.get('userId'))).toEqual([page.textContent])
})

test('without a server page the anonymous id is there at once', () => {
  const { client } = bench()
  const ids: string[] = []
  renderHook(() => ids.push(useAuth().user.id), {
    wrapper: ({ children }) => <AerostackProvider client={client}>{children}</AerostackProvider>,
  })
  expect(new Set(ids).size).toBe(1)
  expect(ids[0]).toMatch(/^anonymous-/)
})
