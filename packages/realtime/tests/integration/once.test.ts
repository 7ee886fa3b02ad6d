import { afterEach, expect, test } from 'vitest'
import type { Client, RealtimePayload } from '../../src/index.js'
import { Cable, clientOf, Heard, Server } from '../support/server.js'

const servers: Server[] = []
const clients: Client[] = []
const cables: Cable[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  for (const cable of cables.splice(0)) await cable.stop()
  for (const server of servers.splice(0)) await server.remove()
})

async function started(): Promise<Server> {
  const server = await new Server().start()
  servers.push(server)
  return server
}

async function through(server: Server): Promise<Cable> {
  const cable = await new Cable(server).start()
  cables.push(cable)
  return cable
}

/** A client that reconnects quickly. */
function client(target: { url: string }, userId: string): Client {
  const made = clientOf(target, { userId, random: () => 0.999 })
  clients.push(made)
  return made
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

test('a message whose acknowledgement is lost arrives once', async () => {
  const server = await started()
  const cable = await through(server)
  const heard = new Heard<unknown>()
  await client(server, 'bob')
    .channel('chat/once')
    .on('message', ({ data }) => heard.add(data))
    .subscribe()
  const ada = client(cable, 'ada')
  const room = ada.channel('chat/once')
  await ada.connect()
  for (const persist of [true, false]) {
    cable.loseAnswer()
    expect(await room.publish('message', persist, { persist })).toMatchObject({ duplicate: true })
    expect(await heard.next()).toBe(persist)
  }
  await room.publish('message', 'done')
  expect(await heard.next()).toBe('done')
  expect((await room.getHistory()).map(({ data }) => data)).toEqual([true])
})

test('repeated kills lose, repeat and reorder no persisted message', async () => {
  const server = await started()
  const heard = new Heard<RealtimePayload>()
  await client(server, 'bob').channel('chat/kill').on('message', heard.add).subscribe()
  const room = client(server, 'ada').channel('chat/kill')
  const count = 60
  const acked: Promise<unknown>[] = []
  for (const round of numbers(3)) {
    for (const n of numbers(count / 3)) acked.push(room.publish('message', round * 20 + n, { persist: true }))
    await Promise.race(acked.slice(-10)) // some of them are answered, some are not
    await server.kill()
    await server.start()
  }
  await Promise.all(acked)
  const order: unknown[] = []
  for (const _ of numbers(count)) order.push((await heard.next()).data)
  expect(order.toSorted((a, b) => (a as number) - (b as number))).toEqual(numbers(count))
  expect((await room.getHistory(100)).map(({ data }) => data).reverse()).toEqual(order)
  expect(heard.rest).toEqual([])
})

test('a client continues after a cursor that it kept', async () => {
  const server = await started()
  const first = client(server, 'bob')
  const before = new Heard<RealtimePayload>()
  const room = first.channel('chat/away').on('message', before.add)
  await room.subscribe()
  const ada = client(server, 'ada').channel('chat/away')
  await ada.publish('message', 1, { persist: true })
  await before.next()
  const since = room.cursor as string
  first.disconnect()
  await ada.publish('message', 2, { persist: true })
  await server.kill()
  await server.start()
  const after = new Heard<unknown>()
  const later = client(server, 'bob')
    .channel('chat/away', { since })
    .on('message', ({ data }) => after.add(data))
  await later.subscribe()
  await ada.publish('message', 3, { persist: true })
  expect([await after.next(), await after.next()]).toEqual([2, 3])
  expect(after.rest).toEqual([])
})

test('an unfinished event is delivered again to the next client', async () => {
  const server = await started()
  const errors = new Heard<string>()
  const bob = clientOf(server, { userId: 'bob', onError: ({ code }) => errors.add(code) })
  clients.push(bob)
  const heard = new Heard<unknown>()
  const room = bob.channel('chat/stuck')
  let stuck = true
  await room
    .on('message', ({ data }) => {
      if (data === 2) return stuck ? new Promise(() => {}) : undefined
      if (data === 3) throw new Error('mine')
    })
    .on('message', ({ data }) => heard.add(data))
    .subscribe()
  const ada = client(server, 'ada').channel('chat/stuck')
  for (const n of [1, 2, 3]) await ada.publish('message', n, { persist: true })
  for (const n of [1, 2, 3]) expect(await heard.next()).toBe(n)
  expect(await errors.next()).toBe('listener')
  stuck = false
  const again = new Heard<unknown>()
  await client(server, 'bob')
    .channel('chat/stuck', { since: room.cursor as string })
    .on('message', ({ data }) => again.add(data))
    .subscribe()
  expect([await again.next(), await again.next()]).toEqual([2, 3])
})
