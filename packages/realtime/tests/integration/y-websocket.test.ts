/** An unchanged y-websocket provider, against the real server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { AerostackProvider } from '../../src/yjs/index.js'
import { clientOf, Server } from '../support/server.js'

const directory = mkdtempSync(join(tmpdir(), 'aerostack-'))
const cleanups: (() => unknown)[] = []
let server: Server

beforeAll(async () => {
  writeFileSync(join(directory, 'aerostack.toml'), '[[documents]]\ntopic = "docs/{id}"\n')
  server = await new Server('--config', join(directory, 'aerostack.toml')).start()
})
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})
afterAll(async () => {
  await server.remove()
  rmSync(directory, { recursive: true })
})

/** A y-websocket client of the document. */
function guest(name: string) {
  const doc = new Y.Doc()
  const provider = new WebsocketProvider(`${server.url.replace('http', 'ws')}/yjs`, name, doc, {
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  })
  cleanups.push(() => provider.destroy())
  return { doc, provider, text: doc.getText('content') }
}

/** Resolves once `condition` holds; it is asked after each change of a document or an awareness. */
async function until(condition: () => boolean, ...docs: { doc: Y.Doc; provider: { awareness: Changing } }[]) {
  if (condition()) return
  await new Promise<void>((resolve) => {
    const check = () => condition() && resolve()
    for (const { doc, provider } of docs) {
      doc.on('update', check)
      provider.awareness.on('change', check)
    }
  })
}

interface Changing {
  on(event: 'change', listener: () => void): void
}

test('y-websocket clients and ours edit one document and share cursors', async () => {
  const ann = guest('docs/1')
  const doc = new Y.Doc()
  const client = clientOf(server)
  const provider = new AerostackProvider(client, 'docs/1', doc)
  cleanups.push(
    () => client.disconnect(),
    () => provider.destroy(),
  )
  const bob = { doc, provider, text: doc.getText('content') }
  ann.text.insert(0, 'Hello')
  await until(() => bob.text.toString() === 'Hello', bob)
  bob.text.insert(5, ' world')
  await until(() => ann.text.toString() === 'Hello world', ann)
  ann.provider.awareness.setLocalStateField('user', { name: 'Ann' })
  await until(() => provider.awareness.getStates().get(ann.doc.clientID)?.user?.name === 'Ann', bob)
  bob.provider.awareness.setLocalStateField('user', { name: 'Bob' })
  await until(() => ann.provider.awareness.getStates().get(doc.clientID)?.user?.name === 'Bob', ann)

  ann.provider.disconnect()
  await until(() => !provider.awareness.getStates().has(ann.doc.clientID), bob)
  ann.text.insert(0, 'offline ')
  bob.text.insert(0, '> ')
  ann.provider.connect()
  await until(() => ann.text.toString() === bob.text.toString(), ann, bob)
  expect([...ann.text.toString()].sort()).toEqual([...'> offline Hello world'].sort())

  bob.text.insert(0, 'x'.repeat(200_000))
  await until(() => ann.text.length > 200_000, ann)
  const late = guest('docs/1')
  await until(() => late.text.toString() === bob.text.toString(), late)
})
