import type { Page } from '@playwright/test'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const TODOS = '/examples/todos/'

function items(page: Page) {
  return page.getByRole('list', { name: 'Launch day' }).getByRole('listitem')
}

function item(page: Page, text: string) {
  return items(page).filter({ has: page.getByLabel(`Text of: ${text}`) })
}

test('what one adds, ticks, renames and removes, the other sees', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, TODOS, 'Amelia'),
    arrive(server, TODOS, 'Bessie'),
  ])
  await expect(items(bessie.page)).toHaveCount(5)
  await amelia.page.getByLabel('New item').fill('Wave to the crowd')
  await amelia.page.getByRole('button', { name: 'Add' }).click()
  await expect(item(bessie.page, 'Wave to the crowd')).toBeVisible()

  await bessie.page.getByLabel('Done: Wave to the crowd').click()
  await expect(amelia.page.getByLabel('Done: Wave to the crowd')).toBeChecked()
  await expect(amelia.page.getByText('3 of 6 to do')).toBeVisible()

  await amelia.page.getByLabel('Text of: Wave to the crowd').fill('Wave to everybody')
  await amelia.page.keyboard.press('Enter')
  await expect(bessie.page.getByLabel('Text of: Wave to everybody')).toHaveValue('Wave to everybody')

  await bessie.page.getByRole('button', { name: 'Remove: Wave to everybody' }).click()
  await expect(items(amelia.page)).toHaveCount(5)
  await expect(bessie.page.getByLabel('New item')).toBeFocused()
})

test('who is editing an item shows on it to the others', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, TODOS, 'Amelia'),
    arrive(server, TODOS, 'Bessie'),
  ])
  await expectPresent(amelia.page, 'Looking at this list', ['Amelia (you)', 'Bessie'])
  await amelia.page.getByLabel('Text of: Agree on a radio frequency').focus()
  await expect(item(bessie.page, 'Agree on a radio frequency')).toContainText('Amelia is editing')
  await expect(amelia.page.getByText('Amelia is editing')).toBeHidden()
  await amelia.page.getByLabel('New item').focus()
  await expect(bessie.page.getByText('Amelia is editing')).toBeHidden()
})

test('a row changed by any other program shows, and one of another list does not', async ({ arrive }) => {
  const { page } = await arrive(server, TODOS, 'Amelia')
  await expect(items(page)).toHaveCount(5)
  await server.query("INSERT INTO todos VALUES ('p', 'picnic', 'Lemonade', 0, 1)")
  await server.query("INSERT INTO todos VALUES ('l', 'launch', 'From a shell', 0, 9e12)")
  await expect(item(page, 'From a shell')).toBeVisible()
  await expect(items(page)).toHaveCount(6)
  await server.query("UPDATE todos SET list_id = 'picnic' WHERE id = 'l'")
  await expect(items(page)).toHaveCount(5)
  await page.getByRole('button', { name: 'Airfield picnic' }).click()
  await expect(page.getByLabel('Text of: From a shell')).toBeVisible()
  await expect(page.getByLabel('Text of: Lemonade')).toBeVisible()
})

test('a write that the database refuses is reported', async ({ arrive }) => {
  const { page } = await arrive(server, TODOS, 'Amelia')
  await server.query(
    "CREATE TRIGGER full BEFORE INSERT ON todos BEGIN SELECT RAISE(ABORT, 'the list is full'); END",
  )
  await page.getByLabel('New item').fill('One more')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('the list is full')
  await expect(page.getByLabel('New item')).toHaveValue('One more')
  await server.query('DROP TRIGGER full')
})
