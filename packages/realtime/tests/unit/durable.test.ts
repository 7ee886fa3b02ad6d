import { IDBFactory, IDBObjectStore } from 'fake-indexeddb'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { persist } from '../../src/durable.js'
import { Outbox } from '../../src/outbox.js'
import { type Bench, bench, connected, settled } from '../support/network.js'

const PLACE = 'ws://server/api/realtime?projectId=default'
const MUTE = { resolve() {}, reject() {} }

beforeEach(() => vi.stubGlobal('indexedDB', new IDBFactory()))
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

function token(sub: string): string {
  return `h.${btoa(JSON.stringify({ sub }))}.s`
}

function publish(outbox: Outbox, id: string): void {
  outbox.add(id, JSON.stringify({ type: 'publish', topic: 'chat/1/default', event: 'message', id }), MUTE)
}

/** A page that keeps its publishes. */
async function page(name: string, made: Bench, place = PLACE): Promise<Outbox> {
  const outbox = new Outbox()
  await persist(made.client, outbox, place, name)
  return outbox
}

/** The ids of what is kept. What was asked of the database before is done before. */
async function kept(): Promise<string[]> {
  await settled()
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open('aerostack', 1)
    request.onsuccess = () => resolve(request.result)
  })
  return new Promise((resolve) => {
    const request = database.transaction('outbox').objectStore('outbox').getAll()
    request.onsuccess = () => resolve(request.result.map(({ id }) => id).sort())
  })
}

/** Web Locks of one origin: `release` is what closing a page does. */
function locks() {
  const held = new Map<string, Promise<unknown>>()
  const release = new Map<string, () => void>()
  return {
    release: (name: string) => release.get(`aerostack-outbox-${name}`)?.(),
    request(name: string, work: () => Promise<unknown>): void {
      const before = held.get(name) ?? Promise.resolve()
      const granted = before.then(() => {
        const closed = new Promise<void>((resolve) => release.set(name, resolve))
        return Promise.race([work(), closed])
      })
      held.set(name, granted)
    },
  }
}

/** The page is connected, and has looked for what others left. */
async function looked(made: Bench): Promise<string[]> {
  made.client.connect()
  await settled()
  made.socket.accept()
  await kept()
  await kept()
  return made.socket.sent.map((frame) => ('id' in frame && frame.id) || frame.type)
}

test('publishes are kept until they are answered, other requests are not', async () => {
  const outbox = await page('p1', await connected())
  outbox.add('q', JSON.stringify({ type: 'presence', topic: 'chat/1/default', id: 'q' }), MUTE)
  publish(outbox, 'a')
  publish(outbox, 'b')
  expect(await kept()).toEqual(['a', 'b'])
  outbox.settle('a', { id: 'a' })
  expect(await kept()).toEqual(['b'])
})

test('those made before the store was open are kept too', async () => {
  const outbox = new Outbox()
  publish(outbox, 'a')
  await persist((await connected()).client, outbox, PLACE, 'p1')
  expect(await kept()).toEqual(['a'])
})

test('the next page sends what a page left, in order and under the old ids, until it is answered', async () => {
  const left = await page('p1', bench())
  for (const id of ['b', 'a', 'c']) publish(left, id)
  await kept()
  const made = bench()
  const outbox = await page('p2', made)
  expect(await looked(made)).toEqual(['b', 'a', 'c'])
  outbox.settle('b', { id: 'b' })
  expect(await kept()).toEqual(['a', 'c'])
})

test('a page in between that did not get to it leaves it to the one after', async () => {
  publish(await page('p1', bench()), 'a')
  await kept()
  const second = bench()
  await page('p2', second)
  await looked(second)
  const third = bench()
  await page('p3', third)
  expect(await looked(third)).toEqual(['a'])
})

test('nobody sends what another user or another project left', async () => {
  publish(await page('p1', bench({ token: token('ada') })), 'of ada')
  publish(await page('p2', bench({ token: token('ada') }), `${PLACE}2`), 'of ada, elsewhere')
  publish(await page('p3', bench()), 'of nobody')
  await kept()
  const bob = bench({ token: token('bob') })
  await page('p4', bob)
  expect(await looked(bob)).toEqual([])
  const ada = bench({ token: token('ada') })
  await page('p5', ada)
  expect(await looked(ada)).toEqual(['of ada'])
})

test('where there are locks a page that lives keeps its own, and one that dies is inherited by one', async () => {
  const origin = locks()
  vi.stubGlobal('navigator', { locks: origin })
  publish(await page('p1', bench()), 'a')
  await kept()
  const [second, third] = [bench(), bench()]
  await page('p2', second)
  await page('p3', third)
  expect([...(await looked(second)), ...(await looked(third))]).toEqual([])
  origin.release('p1')
  for (let i = 0; i < 4; i++) await kept()
  expect([...second.socket.sent, ...third.socket.sent]).toMatchObject([{ type: 'publish', id: 'a' }])
})

test('a full disk is told once, and the rest is kept in memory', async () => {
  const made = await connected()
  const outbox = await page('p1', made)
  vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(() => {
    throw new DOMException('No room.', 'QuotaExceededError')
  })
  publish(outbox, 'a')
  await kept()
  publish(outbox, 'b')
  await kept()
  expect(made.errors).toEqual(['storage'])
  expect(outbox.size).toBe(2)
})

test('a token that cannot be had now is waited for', async () => {
  let online = false
  const made = bench({
    getToken: async () => {
      if (!online) throw new Error('offline')
      return token('ada')
    },
  })
  const outbox = await page('p1', made)
  publish(outbox, 'a')
  expect(await kept()).toEqual([])
  online = true
  await looked(made)
  expect(await kept()).toEqual(['a'])
})

test('without IndexedDB a client says so once and works on', async () => {
  vi.stubGlobal('indexedDB', undefined)
  const told = new Promise((resolve) => {
    const { client } = bench({ persistOutbox: true, onError: resolve })
    client.channel('chat/1').publish('message', 1)
  })
  expect(await told).toMatchObject({ code: 'storage' })
})
