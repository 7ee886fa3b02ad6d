import { describe, expect, test } from 'vitest'
import { AerostackError as CoreError } from '../../src/index.js'
import { AerostackError, createServer, type Server, type ServerOptions } from '../../src/server/index.js'
import { settled, TestClock } from '../support/network.js'

interface Answer {
  status?: number
  body?: unknown
  /** No answer at all. */
  lost?: boolean
}

interface Bench {
  sdk: Server
  clock: TestClock
  requests: Request[]
}

/** An SDK whose calls get these answers, one after another, and the last one from then on. */
function bench(answers: Answer[], options: Partial<ServerOptions> = {}): Bench {
  const requests: Request[] = []
  const clock = new TestClock()
  const fetch = async (url: unknown, init?: RequestInit) => {
    requests.push(new Request(url as string, init))
    const { status = 200, body = {}, lost } = (answers.length > 1 ? answers.shift() : answers[0]) ?? {}
    if (lost) throw new TypeError('fetch failed')
    return new Response(JSON.stringify(body), { status })
  }
  const sdk = createServer({
    url: 'http://server',
    secretKey: 'ac_secret',
    fetch,
    clock,
    random: () => 0,
    ...options,
  })
  return { sdk, clock, requests }
}

const ACK = { body: { cursor: 'e:1', timestamp: 5 } }
const LOST = { lost: true }
const ROWS = { body: { results: [{ n: 1 }], count: 1, cursor: 'c:1' } }

describe('socket.emit', () => {
  test('publishes to the room with the secret key', async () => {
    const { sdk, requests } = bench([ACK])
    const ack = await sdk.socket.emit('message', { text: 'hi' }, 'chat/1', { persist: true })
    const request = requests[0] as Request
    expect(request.method).toBe('POST')
    expect(request.url).toBe('http://server/api/v1/realtime/publish')
    expect(request.headers.get('Authorization')).toBe('Bearer ac_secret')
    const { id, ...body } = await request.json()
    expect(body).toEqual({ topic: 'chat/1', event: 'message', data: { text: 'hi' }, persist: true })
    expect(ack).toEqual({ id, cursor: 'e:1', timestamp: 5 })
  })

  test('names the project when it is given', async () => {
    const { sdk, requests } = bench([ACK], { projectId: 'shop' })
    await sdk.socket.emit('message', 1, 'chat/1')
    expect(requests[0]?.headers.get('X-Project-Id')).toBe('shop')
    expect(await requests[0]?.json()).toMatchObject({ topic: 'chat/1/shop' })
  })

  test('repeats an unanswered call under the same id', async () => {
    const { sdk, clock, requests } = bench([LOST, { status: 503 }, ACK])
    const emitting = sdk.socket.emit('message', 1, 'chat/1')
    await settled()
    await clock.pass(250)
    await clock.pass(500)
    const { id } = await emitting
    const ids = await Promise.all(requests.map(async (request) => (await request.json()).id))
    expect(ids).toEqual([id, id, id])
  })

  test('fails after the retries', async () => {
    const { sdk, clock, requests } = bench([LOST], { retries: 1 })
    const emitting = expect(sdk.socket.emit('message', 1, 'chat/1')).rejects.toMatchObject({
      code: 'network',
    })
    await settled()
    await clock.pass(1_000)
    await emitting
    expect(requests).toHaveLength(2)
  })

  test('a refusal is not repeated', async () => {
    const body = {
      error: { code: 'forbidden', message: 'No.' },
      code: 'AUTH_INVALID_CREDENTIALS',
      message: 'No.',
    }
    const { sdk, requests } = bench([{ status: 403, body }])
    await expect(sdk.socket.emit('message', 1, 'chat/1')).rejects.toMatchObject({
      code: 'forbidden',
      message: 'No.',
      retryable: false,
    })
    expect(requests).toHaveLength(1)
  })

  test('a missing room is named', async () => {
    const { sdk, requests } = bench([ACK])
    const emit = sdk.socket.emit as (event: string, data: unknown) => Promise<unknown>
    await expect(emit('message', 1)).rejects.toThrow('emit needs a room')
    expect(requests).toHaveLength(0)
  })

  test('data without a JSON form is refused', async () => {
    const { sdk } = bench([ACK])
    await expect(sdk.socket.emit('message', 1n, 'chat/1')).rejects.toMatchObject({ code: 'bad_message' })
  })
})

describe('db', () => {
  test('query returns rows and count', async () => {
    const { sdk, requests } = bench([ROWS])
    const result = await sdk.db.query<{ n: number }>('SELECT ? AS n', [1])
    expect(result).toEqual({ success: true, results: [{ n: 1 }], count: 1, cursor: 'c:1' })
    expect(requests[0]?.url).toBe('http://server/v1/db/query')
    expect(await requests[0]?.json()).toEqual({ sql: 'SELECT ? AS n', params: [1] })
  })

  test('batch sends all statements in one call', async () => {
    const body = { results: [{ results: [], count: 1, success: true }], success: true }
    const { sdk, requests } = bench([{ body }])
    const queries = [{ sql: 'DELETE FROM orders WHERE id = ?', params: [1] }]
    expect(await sdk.db.batch(queries)).toEqual(body)
    expect(await requests[0]?.json()).toEqual({ queries })
  })

  test('statements are never repeated', async () => {
    const { sdk, requests } = bench([LOST])
    await expect(sdk.db.query('DELETE FROM orders')).rejects.toMatchObject({
      code: 'network',
      retryable: true,
    })
    await expect(sdk.db.batch([])).rejects.toMatchObject({ code: 'network' })
    expect(requests).toHaveLength(2)
  })
})

describe('other calls', () => {
  test('presence, history, disconnect and revoke', async () => {
    const answers = [{ members: [] }, { messages: [] }, { closed: 2 }, { closed: 1 }]
    const { sdk, requests } = bench(answers.map((body) => ({ body })))
    expect(await sdk.presence('chat/1')).toEqual([])
    expect(await sdk.history('chat/1', 20, 99)).toEqual([])
    expect(await sdk.disconnect('ada')).toBe(2)
    expect(await sdk.revoke({ tokenId: 't-1' })).toBe(1)
    expect(requests.map(({ method, url }) => `${method} ${url.slice('http://server'.length)}`)).toEqual([
      'GET /api/v1/realtime/presence?topic=chat%2F1',
      'GET /api/v1/public/realtime/history?room=chat%2F1&limit=20&before=99',
      'POST /api/v1/realtime/disconnect',
      'POST /api/v1/realtime/revoke',
    ])
    expect(await requests[3]?.json()).toEqual({ tokenId: 't-1' })
  })

  test('reads move on to another server of the cluster', async () => {
    const { sdk, clock, requests } = bench([LOST, { body: { members: [] } }], {
      url: ['http://a', 'http://b/v1'],
    })
    const asking = sdk.presence('chat/1')
    await settled()
    await clock.pass(250)
    await asking
    expect(requests.map(({ url }) => new URL(url).host)).toEqual(['a', 'b'])
  })

  test('a server without an answer is a network error', async () => {
    const fetch = (_: unknown, init?: RequestInit) =>
      new Promise<Response>((_, reject) => {
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))
      })
    const { sdk } = bench([], { fetch, timeout: 1 })
    await expect(sdk.db.query('SELECT 1')).rejects.toMatchObject({ code: 'network' })
  })
})

test('createServer checks its options', () => {
  expect(() => bench([], { url: 'localhost:8787' })).toThrow(expect.objectContaining({ code: 'invalid_url' }))
  expect(() => bench([], { secretKey: '' })).toThrow('secretKey')
})

test('errors are those of the client', () => {
  expect(AerostackError).toBe(CoreError)
})
