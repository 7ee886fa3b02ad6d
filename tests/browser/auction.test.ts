import type { Page } from '@playwright/test'
import { expect, expectPresent, holdWrites, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const AUCTION = '/examples/auction/'

const price = (page: Page) => page.getByTestId('price')
const bids = (page: Page) => page.getByRole('list', { name: 'Bids' }).getByRole('listitem')

test('of two bids at once one stands, and everybody sees the same price', async ({ arrive }) => {
  const [amelia, bessie, otto] = await Promise.all([
    arrive(server, AUCTION, 'Amelia'),
    arrive(server, AUCTION, 'Bessie'),
    arrive(server, AUCTION, 'Otto'),
  ])
  const pages = [amelia.page, bessie.page, otto.page]
  const rivals = [amelia.page, bessie.page]
  for (const page of pages) await expect(price(page)).toHaveText('$240')
  await expectPresent(otto.page, 'In the room', ['Amelia', 'Bessie', 'Otto (you)'])

  const release = await Promise.all(rivals.map(holdWrites))
  for (const page of rivals) {
    const sent = page.waitForRequest('**/v1/db/query')
    await page.getByRole('button', { name: 'Bid $250' }).click()
    await sent
  }
  for (const send of release) send()
  for (const page of rivals)
    await expect(page.getByRole('status', { name: 'Your bid' })).toHaveText(/stands|Somebody was faster/)
  const said = await Promise.all(
    rivals.map((page) => page.getByRole('status', { name: 'Your bid' }).textContent()),
  )
  expect(said.filter((text) => text === 'Your bid of $250 stands.')).toHaveLength(1)
  for (const page of pages) {
    await expect(price(page)).toHaveText('$250')
    await expect(bids(page)).toHaveCount(1)
  }
  const [winner, name] = said[0]?.includes('stands') ? [amelia, 'Amelia'] : [bessie, 'Bessie']
  await expect(otto.page.getByText(`${name} leads`)).toBeVisible()
  await expect(winner.page.getByText('You lead')).toBeVisible()
})

test('a bid of less than the step is refused before it is sent, one by keyboard is taken', async ({
  arrive,
}) => {
  await server.query("UPDATE auctions SET price = 300, leader_id = 'louis', leader_name = 'Louis'")
  const { page } = await arrive(server, AUCTION, 'Otto')
  await expect(price(page)).toHaveText('$300')
  await page.getByLabel('Or an amount of your own').fill('305')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('status', { name: 'Your bid' })).toHaveText('Bid $310 or more.')
  await page.getByLabel('Or an amount of your own').fill('333')
  await page.keyboard.press('Enter')
  await expect(price(page)).toHaveText('$333')
  await expect(page.getByText('You lead')).toBeVisible()
})

test('when time is up nobody can bid, until it is opened again for all', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, AUCTION, 'Amelia'),
    arrive(server, AUCTION, 'Bessie'),
  ])
  await server.query('UPDATE auctions SET ends_at = ?', [Date.now() + 1_500])
  const again = bessie.page.getByRole('button', { name: 'Open it again' })
  await expect(again).toBeVisible()
  await expect(amelia.page.getByRole('button', { name: /^Bid/ })).toHaveCount(0)
  await again.click()
  for (const { page } of [amelia, bessie]) {
    await expect(price(page)).toHaveText('$240')
    await expect(bids(page)).toHaveCount(0)
    await expect(page.getByRole('timer')).toHaveText(/^[45]:/)
  }
})
