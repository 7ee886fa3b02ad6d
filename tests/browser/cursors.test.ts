import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const CURSORS = '/examples/cursors/'

test('a cursor is at the same place on every screen, whatever its size', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, CURSORS, 'Amelia'),
    arrive(server, CURSORS, 'Bessie'),
  ])
  await bessie.page.setViewportSize({ width: 390, height: 844 })
  await expectPresent(bessie.page, 'On the map', ['Amelia', 'Bessie (you)'])
  const map = await amelia.page.getByRole('application').boundingBox()
  if (!map) throw new Error('There is no map.')
  await amelia.page.mouse.move(map.x + map.width * 0.1, map.y + map.height * 0.1)
  await amelia.page.mouse.move(map.x + map.width * 0.25, map.y + map.height * 0.5, { steps: 20 })

  const cursor = bessie.page.locator('[data-name="Amelia"]')
  const place = () => cursor.evaluate(({ style }) => [style.left, style.top].map(Number.parseFloat))
  await expect.poll(place).toEqual([expect.closeTo(25, 0), expect.closeTo(50, 0)])
  await amelia.page.mouse.move(0, 0)
  await expect(cursor).toBeHidden()
})

test('a cursor goes with its person, also when the browser is gone at once', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, CURSORS, 'Amelia'),
    arrive(server, CURSORS, 'Bessie'),
  ])
  await amelia.page.getByRole('application').hover({ position: { x: 100, y: 100 } })
  await expect(bessie.page.locator('[data-name="Amelia"]')).toBeVisible()
  await amelia.context.close()
  await expect(bessie.page.locator('[data-name="Amelia"]')).toBeHidden()
  await expectPresent(bessie.page, 'On the map', ['Bessie (you)'])
})

test('a cursor moves and points by keyboard alone', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, CURSORS, 'Amelia'),
    arrive(server, CURSORS, 'Bessie'),
  ])
  await amelia.page.getByRole('application').focus()
  for (const key of ['ArrowRight', 'ArrowDown']) await amelia.page.keyboard.press(key)
  const cursor = bessie.page.locator('[data-name="Amelia"]')
  await expect(cursor).toBeVisible()
  await expect(async () => {
    await amelia.page.keyboard.press('Enter')
    await expect(bessie.page.locator('.ping').first()).toBeVisible({ timeout: 1_000 }) // it lasts less than that
  }).toPass()
})
