import { afterEach, describe, expect, test, vi } from 'vitest'
import { origins, shuffled } from '../../src/address.js'
import { AerostackError, createClient } from '../../src/index.js'
import { bench, settled } from '../support/network.js'

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the address of a server', () => {
  test.each([
    ['http://server', 'http://server'],
    ['https://server/', 'https://server'],
    ['wss://server:8787', 'https://server:8787'],
    ['https://server/v1', 'https://server'],
    ['https://server/v1/', 'https://server'],
    ['https://server/rt', 'https://server/rt'],
    ['https://server/rt/v1', 'https://server/rt'],
  ])('%s is %s', (url, origin) => {
    expect(origins(url)).toEqual([origin])
  })

  test('the default is the origin of the page', () => {
    vi.stubGlobal('location', { origin: 'https://page' })
    expect(origins(undefined)).toEqual(['https://page'])
  })

  test.each(['localhost:8787', 'server', 'ftp://server', 'http://'])('%s is refused at once', (url) => {
    expect(() => createClient({ url })).toThrow(AerostackError)
    expect(() => createClient({ url })).toThrow(expect.objectContaining({ code: 'invalid_url' }))
    expect(() => createClient({ url })).toThrow(`The url '${url}' needs http:// or https://`)
  })

  test('baseUrl is another name for url', async () => {
    const made = bench({ url: undefined, baseUrl: 'https://server/v1' })
    made.client.connect()
    await settled()
    expect(made.socket.url.origin).toBe('wss://server')
  })

  test('a client without a page or a url asks for `url`', async () => {
    const { client } = bench({ url: undefined })
    await expect(client.connect()).rejects.toMatchObject({ code: 'invalid_url', message: /pass `url`/ })
  })
})

describe('a client without a project', () => {
  test.each([undefined, ''])('projectId %j is the project of the server', async (projectId) => {
    const made = bench({ projectId })
    const heard: unknown[] = []
    const room = made.client
      .channel('chat/general')
      .on('message', ({ topic, data }) => heard.push([topic, data]))
    const subscribing = room.subscribe()
    await settled()
    expect(made.socket.url.search).toBe('?projectId=')
    made.socket.accept()
    const { topic, id } = made.socket.last('subscribe')
    expect(topic).toBe('chat/general')
    made.socket.say({ type: 'subscribed', topic: 'chat/general/shop', cursor: 'e:0', recovered: null, id })
    await subscribing
    made.socket.say({ type: 'event', topic: 'chat/general/shop', event: 'message', data: 1, cursor: 'e:1' })
    made.socket.say({ type: 'event', topic: 'chat/shop', event: 'message', data: 2, cursor: 'e:2' })
    expect(heard).toEqual([['chat/general', 1]])
  })

  test('tables need no project either', async () => {
    const made = bench({ projectId: undefined })
    made.client.channel('orders').subscribe()
    await settled()
    made.socket.accept()
    expect(made.socket.last('subscribe').topic).toBe('table/orders')
  })
})

describe('several addresses', () => {
  const url = ['http://a', 'http://b', 'http://c']

  test('the first one is random', () => {
    const numbers = [0.9, 0.1, 0.5]
    expect(shuffled(url, () => numbers.shift() ?? 0)).toEqual(['http://b', 'http://c', 'http://a'])
  })

  test('a failed attempt is followed by one on another server', async () => {
    const made = bench({ url })
    made.client.connect()
    await settled()
    for (let attempt = 0; attempt < 3; attempt++) {
      made.socket.drop()
      await made.clock.pass(1_000)
    }
    expect(made.sockets.map(({ url }) => url.hostname)).toEqual(['a', 'b', 'c', 'a'])
  })

  test('back-off grows once all servers have failed', async () => {
    const made = bench({ url })
    made.client.connect()
    await settled()
    for (const pause of [1_000, 1_000, 1_000, 2_000]) {
      made.socket.drop()
      const before = made.sockets.length
      await made.clock.pass(pause - 1)
      expect(made.sockets).toHaveLength(before)
      await made.clock.pass(1)
      expect(made.sockets).toHaveLength(before + 1)
    }
  })

  test('a lost connection resumes on another server', async () => {
    const made = bench({ url })
    made.client.channel('chat/1').subscribe()
    await settled()
    made.socket.accept()
    made.socket.subscribed('e:7')
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
    expect(made.socket.url.hostname).toBe('b')
    expect(made.socket.last('subscribe')).toMatchObject({ since: 'e:7' })
  })

  test('history is read from the server in use', async () => {
    const asked: string[] = []
    const fetch = async (url: unknown) => {
      asked.push(String(url))
      return new Response('{"messages":[]}')
    }
    const made = bench({ url, fetch })
    made.client.connect()
    await settled()
    made.socket.drop()
    await made.client.channel('chat/1').getHistory()
    expect(asked[0]).toMatch(/^http:\/\/b\//)
  })
})
