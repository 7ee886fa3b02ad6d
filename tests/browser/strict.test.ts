/** The examples as their readers work on them: by Vite, with React's development build, where StrictMode is strict. */
import { join } from 'node:path'
import { createServer, type ViteDevServer } from 'vite'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
let vite: ViteDevServer

test.beforeAll(async () => {
  process.env.AEROSTACK_URL = server.url
  const root = join(import.meta.dirname, '../../examples/chat')
  vite = await createServer({ root, logLevel: 'silent', server: { port: 0, host: '127.0.0.1' } })
  await vite.listen()
})
test.afterAll(() => vite.close())

test('in StrictMode each page is subscribed once and hears everything once', async ({ arrive }) => {
  const url = vite.resolvedUrls?.local[0] ?? ''
  const [amelia, bessie] = await Promise.all([arrive({ url }, '/', 'Amelia'), arrive({ url }, '/', 'Bessie')])
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
  await amelia.page.getByLabel('Message to general').fill('Once')
  await amelia.page.keyboard.press('Enter')
  for (const { page } of [amelia, bessie])
    await expect(page.getByRole('log').locator('.text')).toHaveText(['Once'])
  expect((await server.members('chat/general')).toSorted()).toEqual(['amelia', 'bessie'])
})

test('in StrictMode a room that is left is left on the server too', async ({ arrive }) => {
  const { page } = await arrive({ url: vite.resolvedUrls?.local[0] ?? '' }, '/', 'Amelia')
  for (const room of ['support', 'random', 'general', 'random'])
    await page.getByRole('button', { name: room }).click()
  await expectPresent(page, 'Here now', ['Amelia (you)'])
  await expect.poll(() => server.members('chat/random')).toEqual(['amelia'])
  for (const room of ['support', 'general'])
    await expect.poll(() => server.members(`chat/${room}`)).toEqual([])
})
