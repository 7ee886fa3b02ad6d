import { expect, test } from '@playwright/test'
import { expectAccessible } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()

test('a plain page without npm talks, with the client that the server hands out', async ({ browser }) => {
  const contexts = await Promise.all([browser.newContext(), browser.newContext()])
  const [one, other] = await Promise.all(contexts.map((context) => context.newPage()))
  if (!one || !other) throw new Error('There are no pages.')
  for (const page of [one, other]) await page.goto(`${server.url}/examples/plain/`)
  for (const page of [one, other]) {
    await expect(page.locator('#status')).toHaveText('connected')
    await expect(page.locator('#online')).toHaveText('2')
  }
  await one.getByLabel('Say something').fill('Hello from one file')
  await one.keyboard.press('Enter')
  await expect(one.getByRole('log')).toHaveText('You: Hello from one file')
  await expect(other.getByRole('log')).toHaveText('Hello from one file')
  await one.close()
  await expect(other.locator('#online')).toHaveText('1')
  await expectAccessible(other)
  await Promise.all(contexts.map((context) => context.close()))
})

test('the modules of the client are served, and name each other as neighbours', async ({ request }) => {
  for (const name of [
    'aerostack.js',
    'aerostack-table.js',
    'aerostack-react.js',
    'aerostack-outbox-store.js',
    'aerostack-filter.js',
    'aerostack-streams.js',
    'aerostack-message-history.js',
  ]) {
    const response = await request.get(`${server.url}/sdk/${name}`)
    expect(response.headers()['content-type']).toContain('text/javascript')
    expect(response.ok()).toBe(true)
  }
  const react = await (await request.get(`${server.url}/sdk/aerostack-react.js`)).text()
  for (const name of ['./aerostack.js', './aerostack-table.js']) expect(react).toContain(name)
})
