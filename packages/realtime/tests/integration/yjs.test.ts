/** Documents that are edited together, against the real server. */
import 'fake-indexeddb/auto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import type { Client, ClientOptions } from '../../src/index.js'
import { AerostackProvider } from '../../src/yjs/index.js'
import { Cable, clientOf, Server, tokenOf } from '../support/server.js'

const cleanups: (() => unknown)[] = []
/** A server for the tests that do not kill it: each has documents of its own. */
let server: Server
const directory = mkdtempSync(join(tmpdir(), 'aerostack-'))
let document = ''
let documents = 0

beforeEach(() => {
  document = `docs/${++documents}`
})
beforeAll(async () => {
  writeFileSync(join(directory, 'aerostack.toml'), RULES)
  server = await new Server('--config', join(directory, 'aerostack.toml')).start()
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  for (const client of clients.splice(0)) client.disconnect()
})
afterAll(async () => {
  await server.remove()
  rmSync(directory, { recursive: true })
})

const RULES = `
[[channels]]
topic = "read/{id}"
subscribe = "authenticated"
history = "authenticated"
presence = "authenticated"
publish = "user.id != 'reader'"

[[channels]]
topic = "team/{id}"
members = { table = "members", doc = "{id}", user_id = "{user.id}" }

[[channels]]
topic = "docs/{id}"
subscribe = "anyone"
history = "anyone"
presence = "anyone"
publish = "anyone"
`

async function through(target = server): Promise<Cable> {
  const cable = await new Cable(target).start()
  cleanups.push(() => cable.stop())
  return cable
}

const clients: Client[] = []

/** A client whose errors are those that a test causes. */
function client(target: { url: string }, options: ClientOptions = {}): Client {
  const made = clientOf(target, { onError: () => {}, ...options })
  clients.push(made)
  return made
}

/** Let clients that wait try again now. */
function reconnect(): void {
  for (const each of clients) if (each.status === 'reconnecting') each.connect()
}

interface Editor {
  doc: Y.Doc
  text: Y.Text
  provider: AerostackProvider
}

/** An editor of `made`, of this test's document. */
function edit(made: Client, topic = document, doc = new Y.Doc()): Editor {
  const provider = new AerostackProvider(made, topic, doc)
  cleanups.push(() => provider.destroy())
  return { doc, text: doc.getText('text'), provider }
}

/** Resolves when `holds` does, which is asked again after every event of the editors. */
function until(editors: readonly Editor[], holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const ask = () => holds() && resolve()
    for (const { doc, provider } of editors) {
      doc.on('update', ask)
      provider.awareness.on('change', ask)
      for (const event of ['sync', 'saved', 'status', 'closed', 'refused'] as const) provider.on(event, ask)
    }
    ask()
  })
}

const synced = (...editors: Editor[]) =>
  until(editors, () => editors.every(({ provider }) => provider.synced))
const saved = (...editors: Editor[]) => until(editors, () => editors.every(({ provider }) => provider.saved))
const reads = (editor: Editor, text: string) => until([editor], () => editor.text.toString() === text)

/** The editor is connected: the server may take a moment to notice a new table, or a row in it. */
async function admitted(editor: Editor): Promise<void> {
  const { provider } = editor
  while (!provider.synced) {
    if (provider.status === 'disconnected') provider.connect()
    await until([editor], () => provider.synced || provider.status === 'disconnected')
  }
}

/** The documents hold the same, byte for byte. */
function expectSame(...editors: Editor[]): void {
  const states = editors.map(({ doc }) => canonical(doc).toString('base64'))
  expect(new Set(states).size).toBe(1)
}

test('two documents become one, and a later reader receives it', async () => {
  const [ada, bob] = [edit(client(server)), edit(client(server))]
  ada.text.insert(0, 'Hello')
  expect(ada.provider.saved).toBe(false)
  await reads(bob, 'Hello')
  bob.text.insert(5, ', world')
  await reads(ada, 'Hello, world')
  await saved(ada, bob)
  const eve = edit(client(server))
  await synced(eve)
  expect(eve.text.toString()).toBe('Hello, world')
  expect(eve.provider.saved).toBe(true)
  expectSame(ada, bob, eve)
})

test('a large paste arrives in pieces, and `saved` waits for the last one', async () => {
  const [ada, bob] = [edit(client(server)), edit(client(server))]
  await synced(ada, bob)
  const text = 'A long line of a manual. '.repeat(20_000)
  ada.text.insert(0, text)
  await Promise.all([saved(ada), reads(bob, text)])
  const eve = edit(client(server))
  await synced(eve)
  expectSame(ada, bob, eve)
})

test('edits made offline are kept and sent on return', async () => {
  const cable = await through()
  const [ada, bob] = [edit(client(cable)), edit(client(server))]
  ada.text.insert(0, 'Base')
  await reads(bob, 'Base')
  await saved(ada)
  cable.unplug()
  await until([ada], () => ada.provider.status === 'connecting')
  expect(ada.provider.synced).toBe(false)
  ada.text.insert(4, ' from the train')
  bob.text.insert(0, '> ')
  expect(ada.provider.saved).toBe(false)
  await saved(bob)
  cable.plug()
  reconnect()
  await Promise.all([reads(ada, '> Base from the train'), reads(bob, '> Base from the train')])
  await saved(ada)
  expectSame(ada, bob)
})

test('edits of a closed page are sent by the next one, from IndexedDB', async () => {
  const cable = await through()
  const bob = edit(client(server))
  const open = async () => {
    const doc = new Y.Doc()
    const store = new IndexeddbPersistence(document, doc)
    await store.whenSynced
    return { store, editor: edit(client(cable), document, doc) }
  }
  const first = await open()
  first.editor.text.insert(0, 'Kept and removed')
  await saved(first.editor)
  cable.unplug()
  await until([first.editor], () => first.editor.provider.status !== 'connected')
  first.editor.text.delete(4, 12)
  first.editor.text.insert(4, '!')
  first.editor.provider.destroy()
  await first.store.destroy()
  first.editor.provider.client.disconnect() // the tab is closed

  const second = await open()
  expect(second.editor.text.toString()).toBe('Kept!')
  expect(second.editor.provider.saved).toBe(false)
  cable.plug()
  reconnect()
  await reads(bob, 'Kept!')
  await saved(second.editor)
  expectSame(second.editor, bob)
  await second.store.destroy()

  const before = (await bob.provider.client.channel(document).getHistory()).length
  const third = await open() // with nothing new, nothing is sent
  await synced(third.editor)
  expect(third.editor.provider.saved).toBe(true)
  expect((await bob.provider.client.channel(document).getHistory()).length).toBe(before)
  await third.store.destroy()
})

test('a server that is killed loses nothing that was saved', async () => {
  const [ada, bob] = [edit(client(server)), edit(client(server))]
  await synced(ada, bob)
  ada.text.insert(0, 'saved, ')
  await saved(ada)
  ada.text.insert(ada.text.length, 'on the way, ')
  await server.kill()
  await until([ada, bob], () => [ada, bob].every(({ provider }) => provider.status !== 'connected'))
  bob.text.insert(0, 'offline, ')
  expect(bob.provider.saved).toBe(false)
  await server.start()
  const eve = edit(client(server))
  await synced(eve)
  expect(eve.text.toString()).toContain('saved, ')
  reconnect()
  const all = ['saved, ', 'on the way, ', 'offline, ']
  for (const editor of [ada, bob, eve])
    await until([editor], () => all.every((part) => editor.text.toString().includes(part)))
  await saved(ada, bob)
  expectSame(ada, bob, eve)
})

test('two tabs of one user are two cursors, which leave with their tabs', async () => {
  const names = (editor: Editor) =>
    [...editor.provider.awareness.getStates().values()].map(({ name }) => name).toSorted()
  const ada = edit(client(server, { userId: 'ada' }))
  const tab = edit(client(server, { userId: 'ada' }))
  const bob = edit(client(server, { userId: 'bob' }))
  ada.provider.awareness.setLocalStateField('name', 'Ada 1')
  tab.provider.awareness.setLocalStateField('name', 'Ada 2')
  bob.provider.awareness.setLocalStateField('name', 'Bob')
  const all = ['Ada 1', 'Ada 2', 'Bob']
  for (const editor of [ada, tab, bob])
    await until([editor], () => JSON.stringify(names(editor)) === JSON.stringify(all))
  tab.provider.destroy()
  await until([bob], () => names(bob).join() === 'Ada 1,Bob')
  ada.provider.awareness.setLocalState(null)
  await until([bob], () => names(bob).join() === 'Bob')
})

test('cursors are there again after a lost connection', async () => {
  const cable = await through()
  const [ada, bob] = [edit(client(cable)), edit(client(server))]
  ada.provider.awareness.setLocalStateField('name', 'Ada')
  bob.provider.awareness.setLocalStateField('name', 'Bob')
  const sees = (editor: Editor, name: string) =>
    [...editor.provider.awareness.getStates().values()].some((state) => state.name === name)
  await until([ada, bob], () => sees(ada, 'Bob') && sees(bob, 'Ada'))
  cable.unplug()
  await until([ada, bob], () => !sees(ada, 'Bob') && !sees(bob, 'Ada'))
  cable.plug()
  reconnect()
  await until([ada, bob], () => sees(ada, 'Bob') && sees(bob, 'Ada'))
})

test('many documents share one connection', async () => {
  const [one, other] = [client(server), client(server)]
  const pairs = Array.from(
    { length: 20 },
    (_, n) => [edit(one, `docs/many-${n}`), edit(other, `docs/many-${n}`)] as const,
  )
  for (const [n, [ada]] of pairs.entries()) ada.text.insert(0, `Document ${n}`)
  for (const [n, [, bob]] of pairs.entries()) await reads(bob, `Document ${n}`)
  const connections = await fetch(`${server.url}/api/v1/realtime/channels`, {
    headers: { Authorization: 'Bearer ac_secret_dev' },
  })
  expect(await connections.text()).toContain('docs/many-19')
})

test('edits of a reader by rule are refused and never count as saved', async () => {
  const ada = edit(client(server, { token: tokenOf('ada') }), 'read/me')
  const reader = edit(client(server, { token: tokenOf('reader') }), 'read/me')
  ada.text.insert(0, 'Read me')
  await reads(reader, 'Read me')
  const refused = new Promise<string>((resolve) => reader.provider.on('refused', ({ code }) => resolve(code)))
  reader.text.insert(0, 'Scribble')
  expect(await refused).toBe('forbidden')
  expect(reader.provider.saved).toBe(false)
  ada.text.insert(7, '!')
  await until([reader], () => reader.text.toString().endsWith('Read me!'))
  await saved(ada)
  expect(ada.text.toString()).toBe('Read me!')
})

test('a membership that ends ends the editing at once', async () => {
  await server.query('CREATE TABLE members (doc TEXT, user_id TEXT, PRIMARY KEY (doc, user_id))')
  await server.query("INSERT INTO members VALUES ('plan', 'ada'), ('plan', 'bob')")
  const made = (user: string) => edit(client(server, { token: tokenOf(user) }), 'team/plan')
  const [ada, bob] = [made('ada'), made('bob')]
  await Promise.all([admitted(ada), admitted(bob)])
  const closed = new Promise((resolve) => bob.provider.on('closed', resolve))
  await server.query("DELETE FROM members WHERE user_id = 'bob'")
  await closed
  expect(bob.provider.status).toBe('disconnected')
  ada.text.insert(0, 'Secret')
  bob.text.insert(0, 'Still here')
  await saved(ada)
  expect(bob.text.toString()).toBe('Still here')
  expect(bob.provider.saved).toBe(false)
  await server.query("INSERT INTO members VALUES ('plan', 'bob')")
  await admitted(bob)
  await until([ada, bob], () => ada.text.length === 16 && bob.text.length === 16)
  await saved(bob)
  expectSame(ada, bob)
})

test('a new token changes nothing in the editor', async () => {
  const ada = edit(client(server, { token: tokenOf('ada') }))
  ada.text.insert(0, 'Before')
  await saved(ada)
  const events: unknown[] = []
  ada.provider.on('status', (event) => events.push(event))
  ada.provider.on('sync', (event) => events.push(event))
  ada.provider.client.setToken(tokenOf('ada'))
  ada.text.insert(6, ' and after')
  await saved(ada)
  expect(events).toEqual([])
  expect(ada.text.toString()).toBe('Before and after')
})

/** Numbers that are the same in every run with the same seed (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

test('random edits, cuts, pastes and a kill: one document byte for byte', { timeout: 180_000 }, async () => {
  const seed = Number(process.env.SEED ?? 20)
  const random = seeded(seed)
  const cables = await Promise.all([through(), through(), through()])
  const editors = Array.from({ length: 12 }, (_, n) => edit(client(cables[n % 3] as Cable)))
  await synced(...editors)
  for (let step = 0; step < 180; step++) {
    const { text, doc } = editors[random(editors.length)] as Editor
    const at = random(text.length + 1)
    if (random(60) === 0) text.insert(at, 'paste '.repeat(10_000))
    else if (random(3) === 0 && at < text.length) text.delete(at, Math.min(text.length - at, 1 + random(5)))
    else if (random(5) === 0) doc.getMap('map').set(`key ${random(5)}`, step)
    else text.insert(at, `${step} `)
    if (step % 40 === 20) cables[random(3)]?.cut()
    if (step === 100) {
      await server.kill()
      await server.start()
    }
    if (step % 10 === 0) await new Promise(setImmediate)
  }
  reconnect()
  await until(editors, () => editors.every(({ provider }) => provider.synced && provider.saved))
  const late = edit(client(server))
  await synced(late) // all edits are stored, so this is all of them
  const whole = canonical(late.doc)
  const same = ({ text, doc }: Editor) => text.length === late.text.length && whole.equals(canonical(doc))
  await until(editors, () => editors.every(same))
  expect(late.text.length, `SEED=${seed}`).toBeGreaterThan(10_000)
})

/** The content of a document. Documents with the same content may be divided differently in memory. */
function canonical(doc: Y.Doc): Buffer {
  const copy = new Y.Doc()
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc))
  return Buffer.from(Y.encodeStateAsUpdate(copy))
}
