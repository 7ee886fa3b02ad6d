import { expect, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const DASHBOARD = '/examples/dashboard/'

test('orders of any program count at once, on every screen the same', async ({ arrive }) => {
  const people = await Promise.all([arrive(server, DASHBOARD, 'Amelia'), arrive(server, DASHBOARD, 'Bessie')])
  const [{ total }] = (await server.query('SELECT sum(total) AS total FROM orders')) as [{ total: number }]
  await server.query(
    "INSERT INTO orders (customer, item, total, status, created_at) VALUES ('Otto', 'Hangar', 1000, 'paid', ?)",
    [Date.now()],
  )
  const revenue = (total + 1000).toLocaleString('en', { style: 'currency', currency: 'USD' })
  for (const { page } of people) {
    await expect(page.getByRole('region', { name: 'Orders today' })).toContainText('141')
    await expect(page.getByRole('region', { name: 'Revenue today' })).toContainText(revenue)
    await expect(
      page.getByRole('list', { name: 'Latest orders' }).getByRole('listitem').first(),
    ).toContainText('Hangar for Otto')
  }
})

test('simulated traffic moves the other screen, and its figures are there after a reload', async ({
  arrive,
}) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, DASHBOARD, 'Amelia'),
    arrive(server, DASHBOARD, 'Bessie'),
  ])
  const orders = bessie.page.getByRole('region', { name: 'Orders today' }).locator('.value')
  const users = bessie.page.getByRole('region', { name: 'Active users' }).locator('.value')
  await expect(users).toHaveText('–')
  await expect(orders).not.toHaveText('0')
  const before = await orders.textContent()
  await amelia.page.getByRole('switch', { name: 'Simulate traffic' }).click()
  await expect(users).toHaveText(/^\d+$/)
  await expect(orders).not.toHaveText(before ?? '')
  await amelia.page.getByRole('switch', { name: 'Simulate traffic' }).click()
  await expect(amelia.page.getByText('It is quiet.')).toBeVisible()
  await bessie.page.reload()
  await expect(users).toHaveText(/^\d+$/)
  await expect(bessie.page.getByRole('img', { name: /orders in the last five minutes/ })).toBeVisible()
})
