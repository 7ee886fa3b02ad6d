// The subscriber of the suite that runs the TypeScript client: the record is the handling, as in subscriber.py.
import { closeSync, existsSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { Client } = await import('../../packages/realtime/dist/esm/index.js')
const WebSocket = globalThis.WebSocket ?? require('ws')

const options = Object.fromEntries(
  ['name', 'url', 'life', 'seed', 'place', 'database', 'rate'].map((name) => [name, { type: 'string' }]),
)
const { values } = parseArgs({ options })
const TOPICS = { mixed: 'fault/mixed', kept: 'fault/kept', light: 'fault/light', items: 'items' }
const PROGRESS_EVERY = 50
const FASTER = 10

// A run has many faults: come back ten times as soon as an app would.
const clock = {
  now: () => Date.now(),
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds > 5_000 ? milliseconds : milliseconds / FASTER),
  clearTimeout,
}
const client = new Client({
  url: values.url,
  apiKey: 'ac_secret_dev',
  WebSocket,
  clock,
  onError: (error) => console.error(`${error.code}: ${error.message}`),
})

function checkpoint(path) {
  if (!existsSync(path)) return undefined
  const file = openSync(path, 'r')
  const { size } = fstatSync(file)
  const tail = Buffer.alloc(Math.min(size, 4096))
  readSync(file, tail, 0, tail.length, size - tail.length)
  closeSync(file)
  const lines = tail.toString().split('\n').slice(0, -1)
  return lines.at(-1)?.split(' ')[1]
}

function record(payload, channel) {
  if (payload.event === 'gap') return ['G', channel.cursor]
  if (payload.operation) {
    const { id, n } = payload.data
    return [id === -1 ? 'X' : 'R', payload.cursor, payload.operation[0], id, n]
  }
  return payload.event === 'end' ? ['X', payload.cursor] : ['E', payload.cursor, ...payload.data]
}

const open = new Set(Object.keys(TOPICS))
let handled = 0
for (const [name, topic] of Object.entries(TOPICS)) {
  const path = `${values.place}/${values.name}.${name}.handled`
  const since = checkpoint(path)
  const file = openSync(path, 'a')
  const channel = client.channel(topic, { since })
  channel.on('*', (payload) => {
    const fields = record(payload, channel)
    writeSync(file, `${fields.join(' ')}\n`)
    if (++handled % PROGRESS_EVERY === 0) process.stdout.write(`+${PROGRESS_EVERY}\n`)
    if (fields[0] === 'X' && open.delete(name) && open.size === 0) {
      process.stdout.write('done\n', () => process.exit(0))
    }
  })
  await channel.subscribe()
  if (since === undefined) writeSync(file, `S ${channel.cursor}\n`)
}
process.stdout.write('ready\n')
process.stdin.on('end', () => process.exit(0)).resume()
