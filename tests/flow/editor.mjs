/** An editor of one document: node editor.mjs TOPIC NAME URL… Each line that it prints is its present state. */
import { createInterface } from 'node:readline'
import { createClient } from 'aerostack-realtime'
import { AerostackProvider } from 'aerostack-realtime/yjs'
import WebSocket from 'ws'
import * as Y from 'yjs'

const [topic, name, ...url] = process.argv.slice(2)
const client = createClient({ url, WebSocket, userId: name, onError: () => {} })
const doc = new Y.Doc()
const text = doc.getText('content')
const provider = new AerostackProvider(client, topic, doc)
const { awareness } = provider

function print() {
  const names = [...awareness.getStates().values()].map((state) => state.name).toSorted()
  const { saved, synced } = provider
  console.log(JSON.stringify({ text: text.toString(), names, saved, synced }))
}

awareness.setLocalStateField('name', name)
for (const event of ['saved', 'synced', 'status']) provider.on(event, print)
awareness.on('change', print)
doc.on('update', print)
for await (const line of createInterface({ input: process.stdin })) text.insert(text.length, JSON.parse(line))
process.exit()
