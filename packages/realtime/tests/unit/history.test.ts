import { expect, test } from 'vitest'
import { bench } from '../support/network.js'

function answering(status: number, body: unknown): { fetch: typeof fetch; requests: Request[] } {
  const requests: Request[] = []
  return {
    requests,
    fetch: async (url, init) => {
      requests.push(new Request(url as string, init))
      return new Response(JSON.stringify(body), { status })
    },
  }
}

test('history is requested with the canonical room and credentials', async () => {
  const { fetch, requests } = answering(200, { messages: [{ id: '1' }] })
  const { client } = bench({ fetch, apiKey: 'ac_1', token: 'a.b.c' })
  expect(await client.channel('chat/general').getHistory(20, 99)).toEqual([{ id: '1' }])
  expect(requests[0]?.url).toBe(
    'http://server/api/v1/public/realtime/history?room=chat%2Fgeneral%2Fdefault&limit=20&before=99',
  )
  expect(requests[0]?.headers.get('X-Aerostack-Key')).toBe('ac_1')
  expect(requests[0]?.headers.get('Authorization')).toBe('Bearer a.b.c')
})

test('a refusal rejects with the error of the server', async () => {
  const { fetch } = answering(403, { error: { code: 'forbidden', message: 'Not yours.' } })
  const { client } = bench({ fetch })
  await expect(client.channel('chat/general').getHistory()).rejects.toMatchObject({
    code: 'forbidden',
    message: 'Not yours.',
    retryable: false,
  })
})

test('a network failure is a retryable error', async () => {
  const cause = new Error('connect ECONNREFUSED 127.0.0.1:1')
  const fetch = () => Promise.reject(new TypeError('fetch failed', { cause }))
  const { client } = bench({ fetch })
  await expect(client.channel('chat/general').getHistory()).rejects.toMatchObject({
    code: 'network',
    retryable: true,
    message: expect.stringMatching(
      /^No answer from http.*history: connect ECONNREFUSED.*Check that a server/,
    ),
  })
})
