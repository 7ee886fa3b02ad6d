/** Takes the pictures of `docs/images/`: every page with people in it, on a desk and on a phone. */
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const IMAGES = join(import.meta.dirname, '../../docs/images')
const DESK = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }

interface Options {
  /** In the dark, too. */
  dark?: boolean
  /** The heading to begin at. */
  from?: string
}

async function take(page: Page, name: string, { dark = false, from }: Options = {}): Promise<void> {
  for (const [device, size] of Object.entries({ desktop: DESK, phone: PHONE })) {
    await page.setViewportSize(size)
    for (const scheme of dark ? (['light', 'dark'] as const) : (['light'] as const)) {
      await page.emulateMedia({ colorScheme: scheme })
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      )
      expect(overflow, `${name} is wider than a ${device}`).toBe(false)
      if (from)
        await page.getByRole('heading', { name: from }).evaluate((heading) => heading.scrollIntoView())
      const suffix = scheme === 'dark' ? '-dark' : ''
      const path = join(IMAGES, `${name}-${device}${suffix}.png`)
      await page.screenshot({ path, animations: 'disabled', caret: 'hide' })
    }
  }
  await page.emulateMedia({ colorScheme: null })
  await page.setViewportSize(DESK)
}

test('chat', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, '/examples/chat/', 'Amelia'),
    arrive(server, '/examples/chat/', 'Bessie'),
  ])
  await expectPresent(bessie.page, 'Here now', ['Amelia', 'Bessie (you)'])
  const talk: [typeof amelia, string][] = [
    [amelia, 'Morning! The windsock finally made up its mind.'],
    [amelia, 'Steady from the west, about ten knots.'],
    [bessie, 'Then we fly the long loop. Who has the chart?'],
    [amelia, 'On the wing, under the thermos.'],
    [bessie, 'And the thermos?'],
    [amelia, 'In excellent hands.'],
    [bessie, 'Wheels up at nine. Last one to the hangar sweeps it.'],
  ]
  for (const [person, text] of talk) {
    await person.page.getByLabel('Message to general').fill(text)
    await person.page.keyboard.press('Enter')
    await expect(bessie.page.getByText(text)).toBeVisible()
  }
  const typing = setInterval(() => amelia.page.keyboard.press('.').catch(() => undefined), 500)
  await expect(bessie.page.getByText('Amelia is typing…')).toBeVisible()
  await take(bessie.page, 'chat', { dark: true })
  clearInterval(typing)
})

test('todos', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, '/examples/todos/', 'Amelia'),
    arrive(server, '/examples/todos/', 'Bessie'),
  ])
  await bessie.page.getByLabel('Text of: Agree on a radio frequency').focus()
  await expect(amelia.page.getByText('Bessie is editing')).toBeVisible()
  await take(amelia.page, 'todos')
})

test('dashboard', async ({ arrive }) => {
  const { page } = await arrive(server, '/examples/dashboard/', 'Amelia')
  for (let sample = 0; sample < 60; sample++) {
    const activeUsers = Math.round(120 + 22 * Math.sin(sample / 9.4) + 5 * Math.sin(sample * 1.7))
    await server.publish('dashboard/metrics', 'metrics:update', {
      activeUsers,
      responseMs: Math.round(30 + activeUsers / 12 + 6 * Math.cos(sample * 2.3)),
    })
  }
  await page.getByRole('switch', { name: 'Simulate traffic' }).click()
  await expect(page.getByRole('region', { name: 'Orders today' })).toContainText('143')
  await take(page, 'dashboard')
})

test('cursors', async ({ arrive }) => {
  const [amelia, bessie, otto] = await Promise.all(
    ['Amelia', 'Bessie', 'Otto'].map((name) => arrive(server, '/examples/cursors/', name)),
  )
  if (!amelia || !bessie || !otto) throw new Error('Somebody is missing.')
  await bessie.page.getByRole('application').hover({ position: { x: 420, y: 330 } })
  await otto.page.getByRole('application').hover({ position: { x: 860, y: 150 } })
  for (const name of ['Bessie', 'Otto'])
    await expect(amelia.page.locator(`[data-name="${name}"]`)).toBeVisible()
  await take(amelia.page, 'cursors')
})

test('auction', async ({ arrive }) => {
  const names = ['Amelia', 'Bessie', 'Otto']
  const [amelia, bessie, otto] = await Promise.all(
    names.map((name) => arrive(server, '/examples/auction/', name)),
  )
  if (!amelia || !bessie || !otto) throw new Error('Somebody is missing.')
  for (const [person, amount] of [
    [amelia, '$240'],
    [bessie, '$250'],
    [otto, '$300'],
    [amelia, '$320'],
    [bessie, '$340'],
    [amelia, '$360'],
  ] as const) {
    await person.page.getByRole('button', { name: `Bid ${amount}` }).click()
    for (const { page } of [amelia, bessie, otto]) await expect(page.getByTestId('price')).toHaveText(amount)
  }
  await expectPresent(amelia.page, 'In the room', ['Amelia (you)', 'Bessie', 'Otto'])
  await take(amelia.page, 'auction')
})

test('home', async ({ arrive }) => {
  const { page } = await arrive(server, '/', 'Amelia')
  await take(page, 'home', { dark: true })
  for (const topic of ['chat/general', 'orders']) {
    await page.getByLabel('Subscribe to a topic').fill(topic)
    await page.keyboard.press('Enter')
    await expect(page.getByRole('button', { name: `Unsubscribe from ${topic}` })).toBeVisible()
  }
  const bessie = await arrive(server, '/examples/chat/', 'Bessie')
  await bessie.page.getByLabel('Message to general').fill('Is this on the console?')
  await bessie.page.keyboard.press('Enter')
  await server.query("UPDATE orders SET status = 'shipped' WHERE id = 140")
  await page.getByLabel('Data, as JSON').fill('{"text": "It is."}')
  await page.getByRole('button', { name: 'Publish' }).click()
  await expect(page.getByRole('log', { name: 'What happened' })).toContainText('It is.')
  await take(page, 'console', { from: 'Console' })
})
