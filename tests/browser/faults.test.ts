import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const CHAT = '/examples/chat/'

test('after a server is killed and starts again every page is unchanged and receives what it missed', async ({
  arrive,
}) => {
  const [amelia, bessie, otto] = await Promise.all([
    arrive(server, CHAT, 'Amelia'),
    arrive(server, CHAT, 'Bessie'),
    arrive(server, '/examples/todos/', 'Otto'),
  ])
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
  await expect(otto.page.getByLabel('Text of: Check the ropes twice')).toBeVisible()
  await amelia.page.getByLabel('Message to general').fill('Before')
  await amelia.page.keyboard.press('Enter')
  await expect(bessie.page.getByText('Before')).toBeVisible()

  await server.kill()
  for (const { page } of [amelia, bessie, otto])
    await expect(page.getByRole('status', { name: 'Connection' })).toHaveText('reconnecting')
  await amelia.page.getByLabel('Message to general').fill('Meanwhile')
  await amelia.page.keyboard.press('Enter')
  await expect(amelia.page.getByRole('status', { name: 'Outgoing' })).toHaveText('1 on the way')
  server.queryFile("INSERT INTO todos VALUES ('away', 'launch', 'While you were away', 0, 9e12)")

  await server.start()
  for (const { page } of [amelia, bessie]) {
    await expect(page.getByRole('status', { name: 'Connection' })).toHaveText('connected')
    await expect(page.getByRole('log').locator('.text')).toHaveText(['Before', 'Meanwhile'])
    await expectPresent(page, 'Here now', ['Amelia', 'Bessie'])
  }
  await expect(amelia.page.getByRole('status', { name: 'Outgoing' })).toBeHidden()
  await expect(otto.page.getByLabel('Text of: While you were away')).toBeVisible()
})

test('a page that was offline catches up when it is online again', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, `${CHAT}#support`, 'Amelia'),
    arrive(server, `${CHAT}#support`, 'Bessie'),
  ])
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
  const network = await bessie.context.newCDPSession(bessie.page)
  const offline = (offline: boolean) =>
    network.send('Network.emulateNetworkConditions', {
      offline,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    })
  await network.send('Network.enable')
  await offline(true)
  await amelia.page.getByLabel('Message to support').fill('Can you hear me?')
  await amelia.page.keyboard.press('Enter')
  await expect(amelia.page.getByText('Can you hear me?')).toBeVisible()
  await bessie.page.getByLabel('Message to support').fill('Nothing but wind')
  await bessie.page.keyboard.press('Enter')
  await expect(bessie.page.getByRole('status', { name: 'Outgoing' })).toHaveText('1 on the way')
  await expect(bessie.page.getByText('Can you hear me?')).toHaveCount(0)
  await offline(false)
  for (const { page } of [amelia, bessie])
    await expect(page.getByRole('log').locator('.text')).toHaveText(['Can you hear me?', 'Nothing but wind'])
  await expect(bessie.page.getByRole('status', { name: 'Connection' })).toHaveText('connected')
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
})

test('a page reloaded in the middle of things is one member and misses nothing', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, `${CHAT}#random`, 'Amelia'),
    arrive(server, `${CHAT}#random`, 'Bessie'),
  ])
  const said: string[] = []
  for (const number of [1, 2, 3, 4, 5]) {
    said.push(`Message ${number}`)
    await amelia.page.getByLabel('Message to random').fill(`Message ${number}`)
    await amelia.page.keyboard.press('Enter')
    if (number % 2) await bessie.page.reload()
  }
  await expect(bessie.page.getByRole('log').locator('.text')).toHaveText(said)
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
})
