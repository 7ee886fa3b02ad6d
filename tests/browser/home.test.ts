import type { Page } from '@playwright/test'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()

const log = (page: Page) => page.getByRole('log', { name: 'What happened' }).getByRole('listitem')

async function subscribe(page: Page, topic: string) {
  await page.getByLabel('Subscribe to a topic').fill(topic)
  await page.keyboard.press('Enter')
}

test('it says what is running, and leads to every example', async ({ arrive, request }) => {
  const { page } = await arrive(server, '/', 'Amelia')
  const running = page.getByLabel('What is running')
  await expect(running).toContainText(server.url)
  await expect(running).toContainText('default')
  const { version } = await (await request.get(`${server.url}/healthz`)).json()
  await expect(running).toContainText(version)
  const links = page.getByRole('region', { name: 'Examples' }).getByRole('link')
  const addresses = await links.evaluateAll((found) => found.map((link) => (link as HTMLAnchorElement).href))
  expect(addresses).toHaveLength(10)
  for (const address of addresses) expect((await request.get(address)).ok(), address).toBe(true)
  const pictures = page.getByRole('region', { name: 'Examples' }).locator('img')
  await expect(pictures).toHaveCount(10)
  for (const picture of await pictures.all())
    await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(640)
})

test('the console shows events, row changes and presence of others', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([arrive(server, '/', 'Amelia'), arrive(server, '/', 'Bessie')])
  for (const topic of ['chat/general', 'todos']) await subscribe(amelia.page, topic)
  await expectPresent(amelia.page, 'Subscribed topics', ['chat/general', 'todos'])
  await expect(log(amelia.page).filter({ hasText: 'subscribed' })).toHaveCount(2)

  await bessie.page.getByLabel('Data, as JSON').fill('{"text": "Hello, console"}')
  await bessie.page.getByLabel('Keep it in the history').check()
  await bessie.page.getByRole('button', { name: 'Publish' }).click()
  await expect(log(bessie.page)).toContainText(['stored at'])
  await expect(log(amelia.page).first()).toContainText('{"text":"Hello, console"}')

  await server.query("UPDATE todos SET done = 1 WHERE id = 'launch-2'")
  await expect(log(amelia.page).first()).toContainText(/UPDATE.*"done":1.* was {"done":0}/)

  const otto = await arrive(server, '/examples/chat/', 'Otto')
  await expect(log(amelia.page).first()).toContainText('presence:join')
  await expectPresent(amelia.page, 'Present on chat/general', ['Otto'])
  await otto.page.close()
  await expect(log(amelia.page).first()).toContainText('presence:leave')
  await expectPresent(amelia.page, 'Present on chat/general', [])

  await amelia.page.getByRole('button', { name: 'Unsubscribe from chat/general' }).click()
  await expectPresent(amelia.page, 'Subscribed topics', ['todos'])
})

test('errors are shown with their code', async ({ arrive }) => {
  const { page } = await arrive(server, '/', 'Amelia')
  await subscribe(page, 'no_such_table')
  await expect(log(page).first()).toContainText('not_found')
  await subscribe(page, 'two//slashes')
  await expect(log(page).first()).toContainText('invalid_topic')
  await page.getByLabel('Data, as JSON').fill('{text}')
  await page.getByRole('button', { name: 'Publish' }).click()
  await expect(page.getByRole('status', { name: 'Data' })).toContainText('This is not JSON')
})

test('console and snippets are used by keyboard alone', async ({ arrive }) => {
  const { page, context } = await arrive(server, '/', 'Amelia')
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.getByLabel('Subscribe to a topic').focus()
  await page.keyboard.type('keys/test')
  await page.keyboard.press('Enter')
  await expect(log(page)).toContainText(['subscribed'])
  await page.getByRole('button', { name: 'Publish' }).focus()
  await page.keyboard.press('Enter')
  await expect(log(page)).toContainText(['accepted'])

  await page.getByRole('tab', { name: 'Browser' }).focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  await expect(page.getByRole('tab', { name: 'Python' })).toBeFocused()
  await expect(page.getByRole('tabpanel', { name: 'Python' })).toContainText(server.url)
  await page.getByRole('button', { name: 'Copy' }).press('Enter')
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(
    'from aerostack_realtime import',
  )
})
