/** People in front of browsers: each has a context of their own, as on a machine of their own. */
import { AxeBuilder } from '@axe-core/playwright'
import { type BrowserContext, test as base, expect, type Page } from '@playwright/test'
import { slowed } from './latency.ts'
import type { Server } from './server.ts'

export interface Person {
  page: Page
  context: BrowserContext
  /** Another tab of the same browser, so of the same person. */
  tab(path: string): Promise<Page>
}

type Arrive = (server: Pick<Server, 'url'>, path: string, name: string) => Promise<Person>

export const test = base.extend<{ arrive: Arrive }>({
  /**
   * Somebody called `name` opens `path` and is connected. Where the page shows who is present, its user is, so it
   * receives what is published there from now on. No page may fail, or break the server's policy.
   */
  arrive: async ({ browser }, use) => {
    const contexts: BrowserContext[] = []
    const errors: string[] = []
    const open = async (context: BrowserContext, address: string) => {
      const page = await context.newPage()
      await slowed(page)
      page.on('pageerror', (error) => errors.push(`${address}: ${error.message}`))
      page.on('console', (message) => {
        if (message.text().includes('Content Security Policy')) errors.push(`${address}: ${message.text()}`)
      })
      await page.goto(address)
      await expect(page.getByRole('status', { name: 'Connection' })).toHaveText('connected')
      // "connected" is shown before the server has answered the subscriptions; its answer brings the members.
      for (const list of await page.locator('.faces').all()) await expect(list).toContainText('(you)')
      return page
    }
    await use(async (server, path, name) => {
      const context = await browser.newContext()
      contexts.push(context)
      const as = (path: string) => {
        const address = new URL(path, server.url)
        address.searchParams.set('as', name)
        return address.href
      }
      return { page: await open(context, as(path)), context, tab: (path) => open(context, as(path)) }
    })
    await Promise.all(contexts.map((context) => context.close()))
    expect(errors).toEqual([])
  },
})

export { expect }

/** Those in `list` are the ones named, in whatever order they came. */
export async function expectPresent(page: Page, list: string, names: string[]): Promise<void> {
  const there = page.getByRole('list', { name: list }).getByRole('listitem')
  await expect(there).toHaveCount(names.length)
  for (const name of names) await expect(there.filter({ hasText: name })).toHaveCount(1)
}

/** What a machine can check of accessibility holds, in the light and in the dark, and the page fits a phone. */
export async function expectAccessible(page: Page): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await new AxeBuilder({ page }).analyze()
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
    expect(found, colorScheme).toEqual([])
  }
  await page.setViewportSize({ width: 390, height: 844 })
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  expect(width).toBeLessThanOrEqual(390)
}

/** Keep what `page` writes on its way until the function returned is called. */
export async function holdWrites(page: Page): Promise<() => void> {
  let send = () => {}
  const released = new Promise<void>((resolve) => {
    send = resolve
  })
  await page.route('**/v1/db/query', async (route) => {
    await released
    await route.continue()
  })
  return send
}
