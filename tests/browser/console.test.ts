/** The operators' console: one walk through all of its pages, and the same pages on a phone in the dark. */
import AxeBuilder from '@axe-core/playwright'
import type { Browser, BrowserContext, Page } from '@playwright/test'
import { expect, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
// A walk has many steps, and the machine may be busy with other tests; each step waits for what it needs.
test.describe.configure({ timeout: 180_000 })
/** Where to write a picture of every page, for somebody to look at; nowhere unless it is set. */
const PICTURES = process.env.CONSOLE_PICTURES

const PAGES = ['Channels', 'Connections', 'Tables', 'Streams', 'Rules', 'Explain', 'Logs', 'Overview']
const HEADINGS: Record<string, string> = { Streams: 'Open streams', Explain: 'Why did this user not get it?' }

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name })
const link = (page: Page, name: string) =>
  page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name })
const row = (page: Page, text: string) => page.getByRole('row').filter({ hasText: text })

/** A signed-in console; what the page reports as an error is collected. */
async function open(
  browser: Browser,
  errors: string[],
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<{ page: Page; context: BrowserContext }> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())) errors.push(message.text())
  })
  await page.goto(`${server.url}/console`)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('status', { name: 'Live data' })).toHaveText('live')
  return { page, context }
}

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES)
    await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true, animations: 'disabled' })
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target).join(', ')}`)).toEqual(
    [],
  )
}

test('an operator walks through the console', async ({ arrive, browser }) => {
  const errors: string[] = []
  const amelia = await arrive(server, '/examples/chat/', 'Amelia')
  await expect(amelia.page.getByRole('list', { name: 'Here now' })).toContainText('Amelia')
  const { page, context } = await open(browser, errors)

  await expect(heading(page, 'Overview')).toBeVisible()
  await expect(page.getByRole('img', { name: /Events per second/ })).toBeVisible()
  await expect(row(page, '0.1.0')).toBeVisible()
  await expect(page.locator('.sparkline .line').first()).toBeAttached() // two samples have come, one a second
  await picture(page, 'overview')

  await link(page, 'Channels').click()
  await expect(heading(page, 'Channels')).toBeVisible()
  await page.keyboard.press('/')
  await page.keyboard.type('general')
  await expect(row(page, 'chat/general')).toContainText('1')
  await expect(page.getByText('1–1 of 1')).toBeVisible()
  await picture(page, 'channels')

  await page.getByRole('link', { name: 'chat/general' }).click()
  await expect(heading(page, 'chat/general')).toBeVisible()
  await expect(page.getByRole('region', { name: 'Live tail' })).toContainText('Nothing has happened yet.')
  await amelia.page.getByLabel('Message to general').fill('Hello, operators')
  await amelia.page.keyboard.press('Enter')
  await expect(page.getByRole('region', { name: 'Live tail' })).toContainText('Hello, operators')
  await expect(row(page, 'Hello, operators')).toContainText('Who got it?')
  await expectAccessible(page)
  await picture(page, 'channel')
  await page.getByLabel('Filter the tail').fill('nothing like it')
  await expect(page.getByRole('region', { name: 'Live tail' })).toContainText('Nothing matches the filter')

  await row(page, 'Hello, operators').getByRole('link').click()
  const user = await page.evaluate(async () => {
    const answer = await fetch('/console/api/view/connections', { headers: { 'X-Aerostack-Console': '1' } })
    return (await answer.json()).rows.find((each: { user: string | null }) => each.user)?.user
  })
  await page.getByLabel('User').fill(user)
  await page.getByRole('button', { name: 'Explain' }).click()
  await expect(page.getByRole('region', { name: 'Answer' })).toContainText(`It was sent to ${user}`)
  await picture(page, 'explain')
  await page.getByLabel('User').fill('nobody-at-all')
  await page.getByLabel('User').press('Enter')
  await expect(page.getByRole('region', { name: 'Answer' })).toContainText('nobody-at-all was not connected')

  await link(page, 'Connections').click()
  await page.getByLabel('Search user, address or id').fill(user)
  await page.getByRole('link', { name: user }).click()
  await expect(heading(page, user)).toBeVisible()
  await expect(row(page, 'chat/general/default')).toContainText('live')
  await picture(page, 'connection')
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
  await expect(page.getByRole('alertdialog')).toContainText('Close this connection?')
  await expectAccessible(page)
  await page.getByRole('button', { name: 'Disconnect, really' }).click()
  await expect(page.getByText('1 connection closed')).toBeVisible()
  await expect(page.getByText('ended with 4403')).toBeVisible()

  await link(page, 'Tables').click()
  await expect(row(page, 'todos')).toContainText('no')
  await picture(page, 'tables')

  await link(page, 'Streams').click()
  await expect(page.getByText('No stream is open')).toBeVisible()

  await link(page, 'Rules').click()
  await expect(page.getByText('[[tables]]').last()).toBeVisible()
  await page.getByLabel('Action').selectOption('publish')
  await page.getByLabel('Topic').fill('orders')
  await page.getByRole('button', { name: 'Decide' }).click()
  await expect(page.getByRole('region', { name: 'Playground' })).toContainText('Denied')
  await expect(page.getByRole('region', { name: 'Playground' })).toContainText('nobody publishes on a table')
  await picture(page, 'rules')

  await link(page, 'Logs').click()
  await expect(row(page, 'action disconnected')).toContainText('operator')
  await picture(page, 'logs')

  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByLabel('Secret key or operator’s token')).toHaveValue('ac_secret_dev')
  await expectAccessible(page)
  await picture(page, 'sign-in')
  await context.close()
  expect(errors).toEqual([])
})

const PHONE = { width: 390, height: 844 }
const DESKTOP = { width: 1280, height: 800 }
/** A phone in the dark and a light desktop differ in everything; for pictures also the other two. */
const SCREENS = [
  { name: 'phone-dark', viewport: PHONE, colorScheme: 'dark' },
  { name: 'desktop-light', viewport: DESKTOP, colorScheme: 'light' },
  { name: 'phone-light', viewport: PHONE, colorScheme: 'light' },
  { name: 'desktop-dark', viewport: DESKTOP, colorScheme: 'dark' },
] as const

for (const { name: screen, ...options } of SCREENS.slice(0, PICTURES ? 4 : 2))
  test(`every page is usable by keyboard and by a screen reader: ${screen}`, async ({ arrive, browser }) => {
    const errors: string[] = []
    await arrive(server, '/examples/chat/', 'Amelia')
    const { page, context } = await open(browser, errors, { ...options, reducedMotion: 'reduce' })
    const check = async (name: string) => {
      await expect(page.locator('[aria-busy=true]')).toHaveCount(0)
      const wide = await page.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      )
      expect(wide, `${name} is wider than the screen`).toBe(false)
      await expectAccessible(page)
      await picture(page, `${screen}-${name.toLowerCase()}`)
    }
    for (const name of PAGES) {
      await link(page, name).focus()
      await page.keyboard.press('Enter')
      await expect(heading(page, HEADINGS[name] ?? name)).toBeVisible()
      await expect(page.getByRole('main')).toBeFocused()
      await expect(link(page, name)).toBeInViewport({ ratio: 1 })
      await check(name)
    }
    await page.goto(`${server.url}/console/#/explain?topic=chat/general&user=nobody&access=subscribe`)
    await expect(page.getByRole('region', { name: 'Answer' })).toContainText('nobody may subscribe')
    await expect(page.getByText('A connection', { exact: true })).toBeInViewport({ ratio: 1 })
    await check('answer')
    for (const [list, entry] of [
      ['Channels', 'chat/general'],
      ['Connections', /amelia/i],
    ] as const) {
      await link(page, list).focus()
      await page.keyboard.press('Enter')
      await expect(heading(page, list)).toBeVisible()
      await expect(page.getByRole('main')).toBeFocused() // the page before may have a link of the same name
      await page.getByRole('main').getByRole('link', { name: entry }).first().focus()
      await page.keyboard.press('Enter')
      await expect(page.getByRole('heading', { level: 1, name: entry })).toBeVisible()
      await check(`one-${list}`)
    }
    await context.close()
    expect(errors).toEqual([])
  })
