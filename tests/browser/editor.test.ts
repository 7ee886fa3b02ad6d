import type { Page } from '@playwright/test'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const EDITOR = '/examples/editor/'

const text = (page: Page) => page.getByRole('textbox', { name: 'Text' })
const saving = (page: Page) => page.getByRole('status', { name: 'Saving' })
const offline = (page: Page) => page.getByLabel('Work offline')

test('two people write one document, and see each other’s cursor', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, EDITOR, 'Amelia'),
    arrive(server, EDITOR, 'Bessie'),
  ])
  await expectPresent(bessie.page, 'Editing now', ['Amelia', 'Bessie (you)'])
  await text(amelia.page).click()
  await amelia.page.getByRole('button', { name: 'Heading' }).click()
  await amelia.page.keyboard.type('Long loop')
  await expect(bessie.page.getByRole('heading', { name: 'Long loop' })).toBeVisible()
  await expect(text(bessie.page).locator('.caret[data-name="Amelia"]')).toBeVisible()
  await text(bessie.page).click()
  await bessie.page.keyboard.press('Control+End')
  await bessie.page.keyboard.press('Enter')
  await bessie.page.keyboard.type('Wheels up at nine.')
  await expect(text(amelia.page)).toContainText('Wheels up at nine.')
  for (const { page } of [amelia, bessie]) await expect(saving(page)).toHaveText('All changes are saved')

  const otto = await arrive(server, EDITOR, 'Otto')
  await expect(text(otto.page)).toContainText('Wheels up at nine.')
  const tab = await amelia.tab(EDITOR) // another cursor of the same person
  const editing = otto.page.getByRole('list', { name: 'Editing now' }).getByRole('listitem')
  await expect(editing.filter({ hasText: 'Amelia' })).toHaveCount(2)
  await tab.close()
  await expectPresent(otto.page, 'Editing now', ['Amelia', 'Bessie', 'Otto (you)'])
})

test('edits made offline are kept on the device, also when the page is closed', async ({ arrive }) => {
  const path = `${EDITOR}#checklist`
  const [amelia, bessie] = await Promise.all([arrive(server, path, 'Amelia'), arrive(server, path, 'Bessie')])
  await text(amelia.page).click()
  await amelia.page.keyboard.type('Ropes')
  await expect(text(bessie.page)).toHaveText(/^Ropes/)
  await expect(saving(amelia.page)).toHaveText('All changes are saved')

  await offline(bessie.page).check()
  await text(bessie.page).click()
  await bessie.page.keyboard.press('Control+End')
  await bessie.page.keyboard.type(' and wires')
  await expect(saving(bessie.page)).toContainText('kept on this device')
  await text(amelia.page).click()
  await amelia.page.keyboard.press('Control+Home')
  await amelia.page.keyboard.type('Check: ')
  await expect(saving(amelia.page)).toHaveText('All changes are saved')
  await offline(bessie.page).uncheck()
  for (const { page } of [amelia, bessie]) {
    await expect(text(page)).toContainText('Check: Ropes')
    await expect(text(page)).toContainText(' and wires')
    await expect(saving(page)).toHaveText('All changes are saved')
  }

  await offline(bessie.page).check()
  await text(bessie.page).click()
  await bessie.page.keyboard.press('Control+End')
  await bessie.page.keyboard.type(', twice')
  await expect(saving(bessie.page)).toContainText('kept on this device')
  await kept(bessie.page)
  await bessie.page.close()
  await expect(text(amelia.page)).not.toContainText('twice')
  await bessie.tab(path) // the next page of this browser sends it
  await expect(text(amelia.page)).toContainText('twice')
})

/** Resolves when IndexedDB has what the page wrote into it: a transaction waits for those before it. */
function kept(page: Page): Promise<void> {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const opening = indexedDB.open('aerostack-example/checklist')
        opening.onsuccess = () => {
          const transaction = opening.result.transaction('updates', 'readwrite')
          transaction.objectStore('updates').count()
          transaction.oncomplete = () => {
            opening.result.close()
            resolve()
          }
        }
      }),
  )
}
