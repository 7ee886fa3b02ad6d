import { type BrowserContext, expect, type Page, test } from '@playwright/test'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()

/** A page with a client that keeps its publishes; it is `window.client`. */
async function open(context: BrowserContext): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${server.url}/examples/plain/`)
  await page.evaluate(async () => {
    const sdk = '/sdk/aerostack.js'
    const { createClient } = await import(sdk)
    const client = createClient({ userId: 'ada', persistOutbox: true })
    Object.assign(window, { client })
    await client.connect()
  })
  return page
}

/** Waits until the one page of a context keeps what it publishes: that part is loaded after the connection is there. */
async function keeps(page: Page): Promise<void> {
  const names = () =>
    page.evaluate(async () => (await navigator.locks.query()).held?.map(({ name }) => name).join())
  await expect.poll(names).toContain('aerostack-outbox-')
}

/** The data of what is kept in the browser, in the order it was published. */
function kept(page: Page): Promise<unknown[]> {
  return page.evaluate(
    () =>
      new Promise<unknown[]>((resolve) => {
        const opening = indexedDB.open('aerostack', 1)
        opening.onupgradeneeded = () => opening.transaction?.abort() // it is for the client to make it
        opening.onerror = () => resolve([])
        opening.onsuccess = () => {
          const asking = opening.result.transaction('outbox').objectStore('outbox').getAll()
          asking.onsuccess = () => resolve(asking.result.map(({ text }) => JSON.parse(text).data).sort())
        }
      }),
  )
}

/** What the channel's history holds, oldest first. */
function history(page: Page): Promise<unknown[]> {
  return page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: put there by `open`
    const messages = await (window as any).client.channel('chat/outbox').getHistory()
    return messages.map(({ data }: { data: unknown }) => data).reverse()
  })
}

test('what a closed tab left unsent is sent by one of the tabs that come after, once and in order', async ({
  browser,
}) => {
  const context = await browser.newContext()
  const first = await open(context)
  await keeps(first)
  await server.kill()
  await first.evaluate(() => {
    // biome-ignore lint/suspicious/noExplicitAny: put there by `open`
    const channel = (window as any).client.channel('chat/outbox')
    for (const n of [1, 2, 3]) channel.publish('message', n, { persist: true })
  })
  await expect.poll(() => kept(first)).toEqual([1, 2, 3])
  await first.close()
  await server.start()
  const [second, third] = await Promise.all([open(context), open(context)])
  await expect.poll(() => history(second)).toEqual([1, 2, 3])
  await expect.poll(() => kept(third)).toEqual([])
  await context.close()
})

test('what a tab that is open has not sent yet is left to it, until it closes', async ({ browser }) => {
  const context = await browser.newContext()
  const [first, second] = [await open(context), await open(context)]
  await first.evaluate(() => {
    // biome-ignore lint/suspicious/noExplicitAny: put there by `open`
    const { client } = window as any
    client.disconnect()
    client.channel('chat/outbox').publish('message', 'mine', { persist: true })
  })
  await expect.poll(() => kept(first)).toEqual(['mine'])
  const third = await open(context)
  const before = await history(third)
  expect(before).not.toContain('mine')
  await first.close()
  await expect.poll(() => history(third)).toEqual([...before, 'mine'])
  await expect.poll(() => kept(second)).toEqual([])
  await context.close()
})
