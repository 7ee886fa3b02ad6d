import { IDBFactory, IDBObjectStore } from 'fake-indexeddb'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Outbox } from '../../src/outbox.js'
import { persist } from '../../src/outbox-store.js'
import { eventually } from '../support/eventually.js'
import { bench, settled } from '../support/network.js'

const PLACE = 'ws://server/api/realtime?projectId=default'
const MUTE = { resolve() {}, reject() {} }

beforeEach(() => vi.stubGlobal('indexedDB', new IDBFactory()))
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** A page that keeps its publishes, as far as the store can see it. */
class Page {
  readonly sent: string[] = []
  readonly outbox = new Outbox((text) => this.sent.push(JSON.parse(text).id))
  readonly failures: unknown[] = []
  token: string | null
  readonly internals = {
    token: async () => {
      if (this.token === null) throw new Error('offline')
      return this.token
    },
    failed: (error: unknown) => {
      this.failures.push(error)
    },
  }
  #listener: (status: string) => void = () => {}

  constructor(user = '') {
    this.token = user && `h.${btoa(JSON.stringify({ sub: user }))}.s`
  }

  async open(name: string, place = PLACE): Promise<this> {
    await persist(this, this.outbox, place, name)
    return this
  }

  onStatusChange(listener: (status: string) => void): void {
    this.#listener = listener
  }

  publish(id: string): void {
    this.outbox.add(id, JSON.stringify({ type: 'publish', topic: 'chat/1', event: 'message', id }), MUTE)
  }

  /** Connect, and return the ids that were taken over from other pages. */
  async connect(): Promise<string[]> {
    this.#listener('connected')
    await kept()
    await kept()
    return this.sent
  }
}

/** The ids of what is kept. Earlier requests to the database are done before this one. */
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

/** Web Locks of one origin. `release` is what closing a page does. */
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

test('publishes are kept until answered, other requests are not', async () => {
  const page = await new Page().open('p1')
  page.outbox.add('q', JSON.stringify({ type: 'presence', topic: 'chat/1', id: 'q' }), MUTE)
  page.publish('a')
  page.publish('b')
  expect(await kept()).toEqual(['a', 'b'])
  page.outbox.settle('a', { id: 'a' })
  expect(await kept()).toEqual(['b'])
})

test('publishes made before the store was open are kept', async () => {
  const page = new Page()
  page.publish('a')
  await page.open('p1')
  expect(await kept()).toEqual(['a'])
})

test('the next page sends what a closed page left, in order', async () => {
  const closed = await new Page().open('p1')
  for (const id of ['b', 'a', 'c']) closed.publish(id)
  await kept()
  const next = await new Page().open('p2')
  expect(await next.connect()).toEqual(['b', 'a', 'c'])
  next.outbox.settle('b', { id: 'b' })
  expect(await kept()).toEqual(['a', 'c'])
})

test('publishes pass on when a second page closes too', async () => {
  const first = await new Page().open('p1')
  first.publish('a')
  await kept()
  const second = await new Page().open('p2')
  await second.connect()
  const third = await new Page().open('p3')
  expect(await third.connect()).toEqual(['a'])
})

test('publishes of another user or project are left alone', async () => {
  const pages = [
    await new Page('ada').open('p1'),
    await new Page('ada').open('p2', `${PLACE}2`),
    await new Page().open('p3'),
  ]
  for (const [index, page] of pages.entries()) page.publish(`of page ${index + 1}`)
  await kept()
  const bob = await new Page('bob').open('p4')
  expect(await bob.connect()).toEqual([])
  const ada = await new Page('ada').open('p5')
  expect(await ada.connect()).toEqual(['of page 1'])
})

test('with locks, one page takes over and only after the owner closed', async () => {
  const origin = locks()
  vi.stubGlobal('navigator', { locks: origin })
  const first = await new Page().open('p1')
  first.publish('a')
  await kept()
  const [second, third] = [await new Page().open('p2'), await new Page().open('p3')]
  expect([...(await second.connect()), ...(await third.connect())]).toEqual([])
  origin.release('p1')
  for (let i = 0; i < 4; i++) await kept()
  expect([...second.sent, ...third.sent]).toEqual(['a'])
})

test('a full disk is reported once and memory keeps the rest', async () => {
  const page = await new Page().open('p1')
  vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(() => {
    throw new DOMException('No room.', 'QuotaExceededError')
  })
  page.publish('a')
  await kept()
  page.publish('b')
  await kept()
  expect(page.failures).toMatchObject([{ code: 'storage', cause: { name: 'QuotaExceededError' } }])
  expect(page.outbox.size).toBe(2)
})

test('publishes are written once a token is available', async () => {
  const page = await new Page().open('p1')
  page.token = null
  page.publish('a')
  expect(await kept()).toEqual([])
  page.token = ''
  await page.connect()
  expect(await kept()).toEqual(['a'])
})

test('a client without IndexedDB reports it and works on', async () => {
  vi.stubGlobal('indexedDB', undefined)
  const reported = new Promise((resolve) => {
    const { client } = bench({ persistOutbox: true, onError: resolve })
    client.channel('chat/1').publish('message', 1)
  })
  expect(await reported).toMatchObject({ code: 'storage' })
})

test('a client with persistOutbox keeps its publishes', async () => {
  const { client } = bench({ persistOutbox: true })
  client.channel('chat/1').publish('message', 1)
  await eventually(async () => expect(await kept()).toHaveLength(1))
})
