// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { createClient } from 'aerostack-realtime'
import type { ReactNode } from 'react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { settled, TestSocket } from '../../realtime/tests/support/network.ts'
import { ClientsContext, topicOf, useView } from '../src/live.ts'

interface Call {
  url: string
  answer: (data: object, status?: number) => Promise<void>
}

/** The calls over HTTP that wait for their answer. */
let calls: Call[] = []

beforeEach(() => {
  calls = []
  const fetch = (url: string) =>
    new Promise<Response>((resolve) => {
      const answer = (data: object, status = 200) =>
        act(async () => {
          resolve(Response.json(data, { status })) // also after an abort, which may come too late
          await settled()
        })
      calls.push({ url, answer })
    })
  vi.stubGlobal('fetch', fetch)
})

afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

/** A signed-in console whose server is the test. */
async function signedIn() {
  const sockets: TestSocket[] = []
  class Network extends TestSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const views = createClient({ url: 'http://server/console', projectId: '_console', WebSocket: Network })
  views.connect()
  await settled()
  sockets[0]?.accept()
  const wrapper = ({ children }: { children: ReactNode }) => (
    <ClientsContext value={{ views, tail: views }}>{children}</ClientsContext>
  )
  /** The subscription brings the data of the view that is shown. */
  const bring = (data: object, cursor: string) =>
    act(() => {
      const [socket] = sockets
      const topic = socket?.last('subscribe').topic ?? ''
      socket?.say({ type: 'event', topic, event: 'view', data, cursor, id: cursor, timestamp: 1 })
    })
  return { wrapper, bring, subscribed: () => act(async () => sockets[0]?.subscribed()) }
}

const show = (query: { page: number }) => useView<{ n: number }>('channels', query)

function last(): Call {
  const call = calls.at(-1)
  if (!call) throw new Error('Nothing was fetched.')
  return call
}

describe('useView', () => {
  test('shows the answer over HTTP until the subscription brings newer data', async () => {
    const { wrapper, bring, subscribed } = await signedIn()
    const { result } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    expect(result.current).toEqual({ data: undefined, error: undefined })
    expect(last().url).toBe('/console/api/view/channels')
    await last().answer({ n: 1 })
    expect(result.current.data).toEqual({ n: 1 })
    await subscribed()
    bring({ n: 2 }, 'e:1')
    expect(result.current.data).toEqual({ n: 2 })
  })

  test('ignores an answer over HTTP that is older than what it shows', async () => {
    const { wrapper, bring, subscribed } = await signedIn()
    const { result } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    await subscribed()
    bring({ n: 2 }, 'e:1')
    await last().answer({ n: 1 })
    expect(result.current).toEqual({ data: { n: 2 }, error: undefined })
  })

  test('ignores an error over HTTP after the subscription has brought data', async () => {
    const { wrapper, bring, subscribed } = await signedIn()
    const { result } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    await subscribed()
    bring({ n: 2 }, 'e:1')
    await last().answer({ error: { message: 'Too many calls.' } }, 429)
    expect(result.current).toEqual({ data: { n: 2 }, error: undefined })
  })

  test('shows why the server refused, until the subscription brings data', async () => {
    const { wrapper, bring, subscribed } = await signedIn()
    const { result } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    await last().answer({ error: { message: 'Too many calls.' } }, 429)
    expect(result.current).toEqual({ data: undefined, error: 'Too many calls.' })
    await subscribed()
    bring({ n: 2 }, 'e:1')
    expect(result.current).toEqual({ data: { n: 2 }, error: undefined })
  })

  test('keeps the old data until those of another query are there', async () => {
    const { wrapper } = await signedIn()
    const { result, rerender } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    await last().answer({ n: 1 })
    rerender({ page: 2 })
    expect(last().url).toBe(`/console/api/${topicOf('channels', { page: 2 })}`)
    expect(result.current.data).toEqual({ n: 1 })
    await last().answer({ n: 2 })
    expect(result.current.data).toEqual({ n: 2 })
  })

  test('ignores the answer to a query that is not shown any more', async () => {
    const { wrapper } = await signedIn()
    const { result, rerender } = renderHook(show, { wrapper, initialProps: { page: 0 } })
    const first = last()
    rerender({ page: 2 })
    await first.answer({ n: 1 })
    expect(result.current).toEqual({ data: undefined, error: undefined })
    await last().answer({ n: 2 })
    expect(result.current.data).toEqual({ n: 2 })
  })
})
