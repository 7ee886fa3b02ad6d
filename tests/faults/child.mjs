// What the suite's processes on Node have in common, as child.py: orders by stdin, progress by stdout, and the client.
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { Client } = await import('../../packages/realtime/dist/esm/index.js')

export const TOPICS = { mixed: 'fault/mixed', kept: 'fault/kept', light: 'fault/light' }
export const PEOPLE = 'fault/people'
const PROGRESS_EVERY = 50
const FASTER = 10

/** This process's part: strings, by the names that `Role` has in child.py. */
export const role = parseArgs({
  options: Object.fromEntries(
    ['name', 'url', 'life', 'seed', 'place', 'database', 'rate'].map((name) => [name, { type: 'string' }]),
  ),
}).values

// A run has many faults: reconnect ten times as soon as an app would.
const clock = {
  now: () => Date.now(),
  setTimeout: (callback, milliseconds) =>
    setTimeout(callback, milliseconds > 5_000 ? milliseconds : milliseconds / FASTER),
  clearTimeout,
}

export const client = new Client({
  url: role.url.split(','),
  apiKey: 'ac_secret_dev',
  WebSocket: globalThis.WebSocket ?? require('ws'),
  clock,
  onError: (error) => console.error(`${error.code}: ${error.message}`),
})

export function tell(line, told) {
  process.stdout.write(`${line}\n`, told)
}

let count = 0

/** One more thing was done. */
export function progressed() {
  if (++count % PROGRESS_EVERY === 0) tell(`+${PROGRESS_EVERY}`)
}

/** Resolves when the run ends, or the process that started this one. */
export const finish = new Promise((resolve) => {
  process.stdin.on('data', resolve).on('end', () => process.exit(0))
})

export function done() {
  tell('done', () => process.exit(0))
}
