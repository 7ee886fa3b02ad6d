import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const CHAT = '/examples/chat/'

test('a message reaches everybody in the room once, and nobody in another', async ({ arrive }) => {
  const [amelia, bessie, otto] = await Promise.all([
    arrive(server, CHAT, 'Amelia'),
    arrive(server, CHAT, 'Bessie'),
    arrive(server, `${CHAT}#random`, 'Otto'),
  ])
  await expectPresent(amelia.page, 'Here now', ['Amelia (you)', 'Bessie'])
  await amelia.page.getByLabel('Message to general').fill('Clear skies')
  await amelia.page.getByRole('button', { name: 'Send' }).click()
  for (const { page } of [amelia, bessie])
    await expect(page.getByRole('log').getByRole('listitem')).toHaveText(/Amelia.*Clear skies/)
  await expect(otto.page.getByText('Nobody has said anything in random yet.')).toBeVisible()
})

test('a person who joins later, or again, reads what was said, oldest first', async ({ arrive }) => {
  const amelia = await arrive(server, `${CHAT}#support`, 'Amelia')
  const said = ['One', 'Two', 'Three']
  for (const text of said) {
    await amelia.page.getByLabel('Message to support').fill(text)
    await amelia.page.keyboard.press('Enter')
  }
  const otto = await arrive(server, `${CHAT}#support`, 'Otto')
  await expect(otto.page.getByRole('log').locator('.text')).toHaveText(said)
  await otto.page.reload()
  await expect(otto.page.getByRole('log').locator('.text')).toHaveText(said)
})

test('earlier messages come a page at a time', async ({ arrive }) => {
  for (let number = 1; number <= 40; number++) {
    const data = { userId: 'otto', userName: 'Otto', text: `Number ${number}` }
    await server.publish('chat/random', 'message', data)
  }
  const { page } = await arrive(server, `${CHAT}#random`, 'Amelia')
  const messages = page.getByRole('log').locator('.text')
  await expect(messages).toHaveCount(30)
  await expect(messages.first()).toHaveText('Number 11')
  await page.getByRole('button', { name: 'Show earlier messages' }).click()
  await expect(messages).toHaveCount(40)
  await expect(messages.first()).toHaveText('Number 1')
  await expect(page.getByText('Number 11', { exact: true })).toBeInViewport() // where the reader was
})

test('typing shows to the others while it lasts, and the message ends it', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([arrive(server, CHAT, 'Amelia'), arrive(server, CHAT, 'Bessie')])
  // The clock of each page is stopped, so that no typist expires while the machine is busy.
  for (const { page } of [amelia, bessie]) await page.clock.setFixedTime(Date.now())
  await amelia.page.getByLabel('Message to general').pressSequentially('Wind from')
  await expect(bessie.page.getByText('Amelia is typing…')).toBeVisible()
  await expect(amelia.page.getByText('is typing…')).toBeHidden()
  await amelia.page.keyboard.press('Enter')
  await expect(bessie.page.getByText('Wind from')).toBeVisible()
  await expect(bessie.page.getByText('Amelia is typing…')).toBeHidden()
  await bessie.page.getByLabel('Message to general').pressSequentially('x')
  await expect(amelia.page.getByText('Bessie is typing…')).toBeVisible()
  await amelia.page.clock.setFixedTime(Date.now() + 60_000)
  await expect(amelia.page.getByText('Bessie is typing…')).toBeHidden() // she sends nothing, and is forgotten
})

test('two tabs of one person are one member, who leaves with the last', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([arrive(server, CHAT, 'Amelia'), arrive(server, CHAT, 'Bessie')])
  const second = await amelia.tab(CHAT)
  await expectPresent(second, 'Here now', ['Amelia (you)', 'Bessie'])
  await expectPresent(bessie.page, 'Here now', ['Amelia', 'Bessie (you)'])
  await amelia.page.close()
  await second.getByLabel('Message to general').fill('Still here')
  await second.keyboard.press('Enter')
  await expect(bessie.page.getByText('Still here')).toBeVisible()
  await expectPresent(bessie.page, 'Here now', ['Amelia', 'Bessie (you)'])
  await second.close()
  await expectPresent(bessie.page, 'Here now', ['Bessie (you)'])
})

test('a browser is the same person in every tab, and another browser another', async ({ browser }) => {
  const contexts = await Promise.all([browser.newContext(), browser.newContext()])
  const [one, other] = contexts
  if (!one || !other) throw new Error('There are no browsers.')
  const first = await one.newPage()
  await first.goto(`${server.url}${CHAT}#random`)
  const name = await first.getByText('(you)').textContent()
  const second = await one.newPage()
  await second.goto(`${server.url}${CHAT}#random`)
  await expect(second.getByText('(you)')).toHaveText(name ?? '')
  const third = await other.newPage()
  await third.goto(`${server.url}${CHAT}#random`)
  for (const page of [first, second, third])
    await expect(page.getByRole('list', { name: 'Here now' }).getByRole('listitem')).toHaveCount(2)
  await Promise.all(contexts.map((context) => context.close()))
})

test('a room is entered, read and written to by keyboard alone', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, CHAT, 'Amelia'),
    arrive(server, `${CHAT}#support`, 'Bessie'),
  ])
  const { page } = amelia
  const support = page.getByRole('button', { name: 'support' })
  while (!(await support.evaluate((element) => element === document.activeElement)))
    await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('main', { name: 'Room support' })).toBeVisible()
  const field = page.getByLabel('Message to support')
  while (!(await field.evaluate((element) => element === document.activeElement)))
    await page.keyboard.press('Tab')
  await page.keyboard.type('By keyboard')
  await page.keyboard.press('Enter')
  await expect(bessie.page.getByText('By keyboard')).toBeVisible()
  await expect(field).toBeFocused()
})
