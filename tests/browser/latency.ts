/** A network with delays and slow pages, for tests that look for races: `LATENCY_SEED=1 npm run test:browser`. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from '@playwright/test'

const SEED = process.env.LATENCY_SEED
/** Longer than a page needs for anything that it does without the network. */
const LONGEST_DELAY = 600
/** How many times slower a slow page is. */
const SLOWDOWN = 4

/** Numbers between 0 and 1, the same ones for the same seed (xorshift32). */
function randomOf(seed: number): () => number {
  let state = seed * 2_654_435_761 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const random = randomOf(Number(SEED))

/**
 * Pass on what arrives at `from`, in order, each part later by a time of its own. Each connection and direction has
 * its own longest delay, so that one page is ahead of the other, and another one the next time.
 */
function pass(from: Socket, to: Socket): void {
  const longest = random() * LONGEST_DELAY
  let before = Promise.resolve()
  const later = (action: () => void) => {
    const arrived = Promise.all([before, sleep(random() * longest)])
    before = arrived.then(action)
  }
  from.on('data', (data) => later(() => to.writable && to.write(data)))
  from.on('end', () => later(() => to.end()))
  from.on('close', () => later(() => to.destroy()))
  from.on('error', () => from.destroy())
}

/** Where `url` is reached with delays; `url` itself unless `LATENCY_SEED` is set. */
export async function delayed(url: string): Promise<{ url: string; proxy?: Server }> {
  if (!SEED) return { url }
  const port = Number(new URL(url).port)
  const proxy = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const server = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    pass(client, server)
    pass(server, client)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, proxy }
}

/** Make every second page slow, if `LATENCY_SEED` is set. */
export async function slowed(page: Page): Promise<void> {
  if (!SEED || random() < 0.5) return
  const browser = await page.context().newCDPSession(page)
  await browser.send('Emulation.setCPUThrottlingRate', { rate: SLOWDOWN })
}
