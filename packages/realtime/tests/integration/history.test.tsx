// @vitest-environment happy-dom
/** `useHistory` with the real server: stored messages, growing ones and new ones over one connection. */
import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Client, createClient } from '../../src/index.js'
import { AerostackProvider, useHistory } from '../../src/react/index.js'
import '../support/patience.js'
import { clientOf, Server } from '../support/server.js'

const server = new Server()
const clients: Client[] = []

beforeAll(() => server.start())
afterAll(() => server.remove())
afterEach(() => {
  cleanup()
  for (const client of clients.splice(0)) client.disconnect()
})

function client(userId: string, options: Parameters<typeof createClient>[0] = {}): Client {
  const made = clientOf(server, { userId, ...options })
  clients.push(made)
  return made
}

/** Fails the test when a page is fetched. */
const noFetch = () => Promise.reject(new Error('The history comes with the subscription.'))

function reader(topic: string, pageSize: number) {
  const made = client('bob', { fetch: noFetch })
  const texts: string[][] = []
  let frames = 0
  const count = () => {
    frames++
    requestAnimationFrame(count)
  }
  requestAnimationFrame(count)
  const wrapper = ({ children }: { children: ReactNode }) => (
    <AerostackProvider client={made}>{children}</AerostackProvider>
  )
  const { result } = renderHook(
    () => {
      const history = useHistory<string>(topic, { pageSize, live: ['message', 'answer'] })
      texts.push(history.messages.map(({ data }) => data))
      return history
    },
    { wrapper },
  )
  return { result, texts, frames: () => frames }
}

test('history, what grows and what is new, without a seam', async () => {
  const topic = 'chat/begins'
  const channel = client('ada').channel(topic)
  for (let n = 0; n < 6; n++) await channel.publish('message', `m${n}`, { persist: true })
  const answer = await channel.stream('answer', { persist: true })
  await answer.append('So ')
  let last = 0
  const publishing = (async () => {
    for (; last < 40; last++) await channel.publish('message', `live ${last}`, { persist: true })
  })()
  const { result, texts, frames } = reader(topic, 5)
  await waitFor(() => expect(result.current.loading).toBe(false))
  for (let n = 0; n < 200; n++) answer.append(`${n} `)
  await answer.finish()
  await publishing
  const text = `So ${Array.from({ length: 200 }, (_, n) => `${n} `).join('')}`
  await waitFor(() => {
    expect(result.current.messages.at(-1)?.data).toBe('live 39')
    expect(result.current.messages.find(({ event }) => event === 'answer')).toMatchObject({
      data: text,
      state: 'complete',
    })
  })
  const shown = result.current.messages.map(({ data }) => data).filter((data) => data !== text)
  const all = [
    ...Array.from({ length: 6 }, (_, n) => `m${n}`),
    ...Array.from({ length: 40 }, (_, n) => `live ${n}`),
  ]
  expect(shown).toEqual(all.slice(-shown.length))
  expect(texts.length).toBeLessThanOrEqual(frames() + 10) // the renders that no frame causes: mount and load
  const answers = texts.flatMap((each) => each.filter((data) => data.startsWith('So ')))
  for (const each of answers) expect(text.startsWith(each)).toBe(true)
})

test('older pages follow those of the subscription', async () => {
  const topic = 'chat/pages'
  const channel = client('ada').channel(topic)
  for (let n = 0; n < 7; n++) await channel.publish('message', `m${n}`, { persist: true })
  const made = client('bob')
  const wrapper = ({ children }: { children: ReactNode }) => (
    <AerostackProvider client={made}>{children}</AerostackProvider>
  )
  const { result } = renderHook(() => useHistory<string>(topic, { pageSize: 4, live: 'message' }), {
    wrapper,
  })
  await waitFor(() => expect(result.current.messages).toHaveLength(4))
  expect(result.current.hasMore).toBe(true)
  await act(() => result.current.loadMore())
  await waitFor(() => expect(result.current.messages).toHaveLength(7))
  expect(result.current.messages.map(({ data }) => data)).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6'])
  expect(result.current.hasMore).toBe(false)
})
