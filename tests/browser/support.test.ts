import type { Page } from '@playwright/test'
import { expect, expectPresent, holdWrites, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const SUPPORT = '/examples/support/'

const mine = (page: Page) => page.getByRole('region', { name: 'Your ticket' })
const available = (page: Page) => page.getByRole('switch', { name: 'Available' })
const agents = (page: Page) => page.getByRole('list', { name: 'Agents' })

async function queue(...subjects: string[]): Promise<void> {
  await server.query('DELETE FROM tickets')
  for (const [at, subject] of subjects.entries())
    await server.query('INSERT INTO tickets (id, subject, customer, created_at) VALUES (?, ?, ?, ?)', [
      `ticket-${at}`,
      subject,
      'Charles',
      at,
    ])
}

test('of two agents who take a ticket at the same time one gets it', async ({ arrive }) => {
  await queue('Both want this')
  const [amelia, bessie] = await Promise.all([
    arrive(server, SUPPORT, 'Amelia'),
    arrive(server, SUPPORT, 'Bessie'),
  ])
  const rivals = [amelia.page, bessie.page]
  const release = await Promise.all(rivals.map(holdWrites))
  for (const page of rivals) {
    const sent = page.waitForRequest('**/v1/db/query')
    await page.getByRole('button', { name: 'Take: Both want this' }).click()
    await sent
  }
  for (const send of release) send()
  const said: string[] = []
  for (const page of rivals) {
    const outcome = page.getByRole('status', { name: 'Taken' })
    await expect(outcome).toHaveText(/You have|Somebody else has/)
    said.push((await outcome.textContent()) ?? '')
  }
  expect(said.filter((text) => text.startsWith('You have'))).toHaveLength(1)
  const [winner, loser] = said[0]?.startsWith('You have') ? rivals : rivals.toReversed()
  if (!winner || !loser) throw new Error('Somebody is missing.')
  await expect(mine(winner)).toContainText('Both want this')
  await expect(mine(loser)).not.toContainText('Both want this')
  await expect(agents(loser).getByText('busy')).toHaveCount(1)
})

test('tickets go to the agent who has been free the longest, one at a time', async ({ arrive }) => {
  await queue()
  const [amelia, bessie] = await Promise.all([
    arrive(server, SUPPORT, 'Amelia'),
    arrive(server, SUPPORT, 'Bessie'),
  ])
  await available(amelia.page).check()
  await expect(agents(bessie.page).getByText('free')).toHaveCount(1)
  await available(bessie.page).check()
  await expect(agents(amelia.page).getByText('free')).toHaveCount(2)
  const otto = await arrive(server, SUPPORT, 'Otto')
  for (const subject of ['First', 'Second', 'Third']) {
    await otto.page.getByLabel('What can we help you with?').fill(subject)
    await otto.page.getByRole('button', { name: 'Open a ticket' }).click()
    await expect(otto.page.getByLabel('What can we help you with?')).toHaveValue('')
  }
  await expect(mine(amelia.page)).toContainText('First')
  await expect(mine(bessie.page)).toContainText('Second')
  await expect(otto.page.getByRole('list', { name: 'Waiting tickets' })).toHaveText(/Third/)
  await bessie.page.getByRole('button', { name: 'Solved' }).click()
  await expect(mine(bessie.page)).toContainText('Third')
  await amelia.page.getByRole('button', { name: 'Back to the queue' }).click()
  await expect(available(amelia.page)).not.toBeChecked()
  await expect(bessie.page.getByRole('list', { name: 'Waiting tickets' })).toHaveText(/First/)
})

test('an agent whose browser is gone gets no ticket', async ({ arrive }) => {
  await queue()
  const [amelia, bessie] = await Promise.all([
    arrive(server, SUPPORT, 'Amelia'),
    arrive(server, SUPPORT, 'Bessie'),
  ])
  await available(amelia.page).check()
  await expect(agents(bessie.page).getByText('free')).toHaveCount(1)
  await available(bessie.page).check()
  await amelia.context.close()
  await expectPresent(bessie.page, 'Agents', ['Bessie (you)'])
  await queue('Whose turn is it?')
  await expect(mine(bessie.page)).toContainText('Whose turn is it?')
})
