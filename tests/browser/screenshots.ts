/**
 * Takes the pictures of `docs/images/`: every page with people in it, on a desk and on a phone, as WebP of a few
 * kilobytes. With LOOK=folder all of them go there, in the light and in the dark, and nothing else changes.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { expect, expectPresent, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
const server = serverOfThisFile()
const IMAGES = join(import.meta.dirname, '../../docs/images')
const PICTURES = join(import.meta.dirname, '../../examples/home/pictures')
const LOOK = process.env.LOOK
const DESK = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }

interface Options {
  /** In the dark, too. */
  dark?: boolean
  /** The heading to begin at. */
  from?: string
}

async function take(page: Page, name: string, { dark = false, from }: Options = {}): Promise<void> {
  const schemes = dark || LOOK ? (['light', 'dark'] as const) : (['light'] as const)
  for (const [device, size] of Object.entries({ desktop: DESK, phone: PHONE })) {
    await page.setViewportSize(size)
    for (const scheme of schemes) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      )
      expect(overflow, `${name} is wider than a ${device}`).toBe(false)
      if (from)
        await page.getByRole('heading', { name: from }).evaluate((heading) => heading.scrollIntoView())
      const file = `${name}-${device}${scheme === 'dark' ? '-dark' : ''}`
      if (LOOK) await page.screenshot({ path: join(LOOK, `${file}.png`), caret: 'hide' })
      else await write(page, join(IMAGES, `${file}.webp`), 80)
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null })
  await page.setViewportSize(DESK)
}

/** Write what the page shows. */
async function write(page: Page, path: string, quality: number, scale = 1): Promise<void> {
  const { width, height } = page.viewportSize() ?? DESK
  const session = await page.context().newCDPSession(page)
  const { data } = await session.send('Page.captureScreenshot', {
    format: 'webp',
    quality,
    ...(scale !== 1 && { clip: { x: 0, y: 0, width, height, scale } }),
  })
  writeFileSync(path, data, 'base64')
  await session.detach()
}

/** The small picture of an example on the home page, in the light and in the dark. */
async function picture(page: Page, name: string): Promise<void> {
  if (LOOK) return
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.mouse.move(0, 0)
    await write(page, join(PICTURES, `${name}-${colorScheme}.webp`), 70, 0.5)
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null })
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
    [bessie, 'Then we fly the long loop. Do you have the chart?'],
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
  await picture(bessie.page, 'chat')
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
  await picture(amelia.page, 'todos')
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
  await picture(page, 'dashboard')
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
  await picture(amelia.page, 'cursors')
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
  await picture(amelia.page, 'auction')
})

test('editor', async ({ arrive }) => {
  const [amelia, bessie, otto] = await Promise.all(
    ['Amelia', 'Bessie', 'Otto'].map((name) => arrive(server, '/examples/editor/', name)),
  )
  if (!amelia || !bessie || !otto) throw new Error('Somebody is missing.')
  const text = (page: Page) => page.getByRole('textbox', { name: 'Text' })
  await text(amelia.page).click()
  await amelia.page.getByRole('button', { name: 'Heading' }).click()
  await amelia.page.keyboard.type('The long loop, Saturday')
  await amelia.page.keyboard.press('Enter')
  await amelia.page.keyboard.type('Wind from the west, ten knots, clear until noon. We meet at the windsock.')
  await amelia.page.keyboard.press('Enter')
  await amelia.page.getByRole('button', { name: 'List', exact: true }).click()
  for (const item of ['Ropes and wires, twice', 'Tanks to the second mark', 'A spare pair of goggles']) {
    await amelia.page.keyboard.type(item)
    await amelia.page.keyboard.press('Enter')
  }
  await expect(text(bessie.page)).toContainText('goggles')
  await bessie.page.getByText('Wind from the west').click()
  await bessie.page.keyboard.press('End')
  await otto.page.getByText('Tanks to the second mark').click()
  await otto.page.keyboard.press('End')
  for (const name of ['Bessie', 'Otto'])
    await expect(text(amelia.page).locator(`.caret[data-name="${name}"]`)).toBeVisible()
  await expect(amelia.page.getByText('All changes are saved')).toBeVisible()
  await take(amelia.page, 'editor')
  await picture(amelia.page, 'editor')
})

test('support', async ({ arrive }) => {
  const [amelia, bessie, otto] = await Promise.all(
    ['Amelia', 'Bessie', 'Otto'].map((name) => arrive(server, '/examples/support/', name)),
  )
  if (!amelia || !bessie || !otto) throw new Error('Somebody is missing.')
  for (const { page } of [amelia, bessie]) {
    await page.getByRole('switch', { name: 'Available' }).check()
    await expect(page.getByRole('button', { name: 'Solved' })).toBeVisible()
  }
  await amelia.page.getByLabel('What can we help you with?').fill('The hangar door sings in the wind')
  await amelia.page.getByRole('button', { name: 'Open a ticket' }).click()
  await expect(amelia.page.getByText('2 waiting')).toBeVisible()
  await take(amelia.page, 'support')
  await picture(amelia.page, 'support')
})

test('notifications', async ({ arrive }) => {
  const insert = 'INSERT INTO notifications VALUES (?, ?, ?, ?, ?, ?)'
  const hour = 3_600_000
  for (const [title, body, hours, read] of [
    ['Weather', 'Wind from the west, ten knots, clear until noon.', 3, true],
    ['Tower', 'Your parcel is at the tower. Bring a second pair of hands.', 2, true],
    ['Otto', 'Put you down for the long loop at nine.', 1, false],
  ] as const)
    await server.query(insert, [title, 'amelia', title, body, Date.now() - hours * hour, read ? 1 : null])
  const amelia = await arrive(server, '/examples/notifications/', 'Amelia')
  const bessie = await arrive(server, '/examples/notifications/', 'Bessie')
  await bessie.page.getByRole('button', { name: 'Send' }).click()
  await expect(amelia.page.getByRole('status', { name: 'New notification' })).toContainText('long loop')
  await take(amelia.page, 'notifications')
  await picture(amelia.page, 'notifications')
})

test('game', async ({ arrive }) => {
  const bots = spawn(PYTHON, [join(ROOT, 'examples/game/bots.py'), server.url, '30'], { stdio: 'ignore' })
  const { page } = await arrive(server, '/examples/game/', 'Amelia')
  await expect(page.getByText('31 in the sky')).toBeVisible()
  await expect(page.getByRole('list', { name: 'Scores' }).getByRole('listitem')).toHaveCount(10)
  await take(page, 'game')
  await picture(page, 'game')
  bots.kill('SIGKILL')
})

test('plain', async ({ browser }) => {
  const page = await browser.newPage()
  await page.goto(`${server.url}/examples/plain/`)
  for (const text of ['One file, no build', 'and it is live']) {
    await page.getByLabel('Say something').fill(text)
    await page.keyboard.press('Enter')
  }
  await expect(page.getByRole('log').getByRole('listitem')).toHaveCount(2)
  await page.setViewportSize(DESK)
  await take(page, 'plain')
  await picture(page, 'plain')
  await page.close()
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
