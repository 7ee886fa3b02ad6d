import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { expect, holdWrites, type Person, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
const server = serverOfThisFile()
const GAME = '/examples/game/'

const glider = (page: Page, name: string) => page.locator(`.glider[data-name="${name}"]`)
const place = (page: Page, name: string) =>
  glider(page, name).evaluate(({ style }) => [style.left, style.top].map(Number.parseFloat))

/** Fly to the left edge, and rest there. */
async function flyLeft({ page }: Person, name: string): Promise<void> {
  await page.getByRole('application').focus()
  await page.keyboard.down('ArrowLeft')
  await expect.poll(async () => (await place(page, name))[0]).toBe(2)
  await page.keyboard.up('ArrowLeft')
}

test('a glider is at the same place for everyone, also for a player who joins when it rests', async ({
  arrive,
}) => {
  await server.query('UPDATE balloons SET x = 0.9, y = 0.05')
  const [amelia, bessie] = await Promise.all([arrive(server, GAME, 'Amelia'), arrive(server, GAME, 'Bessie')])
  await expect(glider(bessie.page, 'Amelia')).toBeVisible()
  await flyLeft(amelia, 'Amelia')
  const rest = await place(amelia.page, 'Amelia')
  await expect.poll(() => place(bessie.page, 'Amelia')).toEqual(rest)
  const otto = await arrive(server, GAME, 'Otto')
  await expect.poll(() => place(otto.page, 'Amelia')).toEqual(rest)
  await amelia.context.close()
  await expect(glider(otto.page, 'Amelia')).toHaveCount(0)
})

test('of two players who reach a balloon at once one gets the point', async ({ arrive }) => {
  await server.query('DELETE FROM scores')
  await server.query('DELETE FROM balloons')
  const [amelia, bessie] = await Promise.all([arrive(server, GAME, 'Amelia'), arrive(server, GAME, 'Bessie')])
  const rivals = [amelia, bessie] as const
  const at: number[] = []
  for (const [index, name] of ['Amelia', 'Bessie'].entries()) {
    const person = rivals[index] as Person
    await flyLeft(person, name)
    await person.page.keyboard.down('ArrowUp')
    await expect.poll(async () => (await place(person.page, name))[1]).toBe(2)
    await person.page.keyboard.up('ArrowUp')
    at.push(...(await place(person.page, name)))
  }
  expect(at).toEqual([2, 2, 2, 2])
  const release = await Promise.all(rivals.map(({ page }) => holdWrites(page)))
  const sent = rivals.map(({ page }) => page.waitForRequest('**/v1/db/query'))
  await server.query('INSERT INTO balloons (x, y) VALUES (0.02, 0.02)')
  await Promise.all(sent) // both have seen it, and both reach for it
  for (const send of release) send()
  for (const { page } of rivals)
    await expect(page.getByRole('list', { name: 'Scores' })).toHaveText(/^.(Amelia|Bessie)( \(you\))?1$/)
  expect(await server.query('SELECT sum(points) AS points FROM scores')).toEqual([{ points: 1 }])
})

test('thirty players in Python catch balloons in front of everyone', async ({ arrive }) => {
  await server.query('DELETE FROM scores')
  await server.query('DELETE FROM balloons')
  await server.query('INSERT INTO balloons (x, y) VALUES (0.3, 0.3), (0.7, 0.3), (0.5, 0.7)')
  const { page } = await arrive(server, GAME, 'Amelia')
  const bots = spawn(PYTHON, [join(ROOT, 'examples/game/bots.py'), server.url, '30'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    await expect(page.getByRole('status', { name: 'Players' })).toHaveText('31 in the sky')
    await expect(page.getByRole('list', { name: 'Scores' }).getByRole('listitem')).not.toHaveCount(0)
    const before = await place(page, 'Ada 1')
    await expect.poll(() => place(page, 'Ada 1')).not.toEqual(before)
  } finally {
    await end(bots)
  }
  await expect(page.getByRole('status', { name: 'Players' })).toHaveText('1 in the sky')
})

async function end(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null) throw new Error('The players in Python ended unasked.')
  const ended = once(process, 'exit')
  process.kill('SIGKILL')
  await ended
}
