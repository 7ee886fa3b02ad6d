import { afterEach, describe, expect, test, vi } from 'vitest'
import { get, onSignedOut, post } from '../src/api.ts'

afterEach(() => vi.unstubAllGlobals())

/** Every call gets this answer. Returns the calls. */
function answering(answer: () => Promise<Response>) {
  const fetch = vi.fn((_url: string, _init: RequestInit) => answer())
  vi.stubGlobal('fetch', fetch)
  return fetch
}

const refused = (status: number, body?: object) => async () =>
  new Response(body && JSON.stringify(body), { status })

describe('a call of the console', () => {
  test('carries the header that no page of another origin can send', async () => {
    const fetch = answering(async () => Response.json({ ok: true }))
    await expect(post('sign-in', { key: 'k' }, { 'X-More': '1' })).resolves.toEqual({ ok: true })
    expect(fetch.mock.lastCall).toMatchObject([
      '/console/api/sign-in',
      { method: 'POST', body: '{"key":"k"}', headers: { 'X-Aerostack-Console': '1', 'X-More': '1' } },
    ])
  })

  test('asks only for what is given', async () => {
    const fetch = answering(async () => Response.json([]))
    await get('log', { text: '', topic: undefined, user: 'a b&c', before: 0 })
    expect(fetch.mock.lastCall?.[0]).toBe('/console/api/log?user=a+b%26c&before=0')
  })

  test('fails with the reason that the server gives', async () => {
    answering(refused(403, { error: { code: 'forbidden', message: 'You may only look.' } }))
    await expect(post('revoke')).rejects.toMatchObject({ status: 403, message: 'You may only look.' })
  })

  test('names the status of an answer without a reason', async () => {
    answering(refused(502))
    await expect(get('log')).rejects.toMatchObject({ message: 'The server answered with status 502.' })
  })

  test('says that the server cannot be reached', async () => {
    answering(() => Promise.reject(new TypeError('fetch failed')))
    await expect(get('log')).rejects.toMatchObject({ status: 0, message: 'The server cannot be reached.' })
  })

  test('reports a session that has ended, but not a wrong key', async () => {
    answering(refused(401, { error: { message: 'Sign in.' } }))
    const ended = vi.fn()
    const stop = onSignedOut(ended)
    await expect(post('sign-in')).rejects.toMatchObject({ status: 401 })
    expect(ended).not.toHaveBeenCalled()
    await expect(get('log')).rejects.toMatchObject({ status: 401 })
    expect(ended).toHaveBeenCalledOnce()
    stop()
    await expect(get('log')).rejects.toMatchObject({ status: 401 })
    expect(ended).toHaveBeenCalledOnce()
  })
})
