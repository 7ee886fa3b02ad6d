import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Page } from '@playwright/test'
import { expect, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
const server = serverOfThisFile()
const NOTIFICATIONS = '/examples/notifications/'

const unread = (page: Page) => page.getByRole('status', { name: 'Unread' })
const feed = (page: Page) => page.getByRole('list', { name: 'Notifications' }).getByRole('listitem')
const toast = (page: Page) => page.getByRole('status', { name: 'New notification' })

test('a notification reaches its user alone, and is read on all devices', async ({ arrive }) => {
  const [amelia, bessie] = await Promise.all([
    arrive(server, NOTIFICATIONS, 'Amelia'),
    arrive(server, NOTIFICATIONS, 'Bessie'),
  ])
  const phone = await bessie.tab(NOTIFICATIONS)
  // The rows come after the answer to the subscription by which toasts arrive; a toast is not stored.
  for (const page of [bessie.page, phone]) await expect(page.getByText('Nothing yet.')).toBeVisible()
  await amelia.page.getByLabel('To').selectOption('Bessie')
  await amelia.page.getByLabel('Text').fill('For Bessie only')
  // A toast lasts seconds, so all of them are awaited at once.
  await Promise.all([
    expect(toast(bessie.page)).toContainText('For Bessie only'),
    expect(toast(phone)).toContainText('For Bessie only'),
    amelia.page.getByRole('button', { name: 'Send' }).click(),
  ])
  for (const page of [bessie.page, phone]) {
    await expect(unread(page)).toHaveText('1 unread')
    await expect(page).toHaveTitle(/^\(1\)/)
  }
  await bessie.page.getByRole('button', { name: 'Mark as read: From Amelia' }).click()
  for (const page of [bessie.page, phone]) await expect(unread(page)).toHaveText('0 unread')

  await server.query("INSERT INTO notifications VALUES ('own', 'amelia', 'For Amelia', 'Later', 9e12, NULL)")
  await expect(feed(amelia.page)).toHaveText([/For Amelia/]) // and what came before is not hers
  await expect(unread(amelia.page)).toHaveText('1 unread')
  await expect(feed(bessie.page)).toHaveText([/From Amelia/])
})

test('a client that claims to be another user without a token sees nothing of that user', async ({
  arrive,
}) => {
  const { page } = await arrive(server, '/', 'Otto') // the console has no token
  const log = page.getByRole('log', { name: 'What happened' }).getByRole('listitem')
  for (const topic of ['notifications/otto', 'notifications']) {
    await page.getByLabel('Subscribe to a topic').fill(topic)
    await page.keyboard.press('Enter')
    await expect(log.first()).toContainText('forbidden')
    await expect(log.first()).toContainText(topic)
  }
})

test('the backend in Python notifies, and who was away finds it without a toast', async ({ arrive }) => {
  const program = join(ROOT, 'examples/notifications/backend.py')
  const emit = (text: string) => promisify(execFile)(PYTHON, [program, 'igor', text, server.url])
  await emit('While you were away')
  const { page } = await arrive(server, NOTIFICATIONS, 'Igor')
  await expect(feed(page)).toHaveText([/While you were away/])
  await Promise.all([expect(toast(page)).toHaveText(/^(?!.*away).*Now/), emit('Now')])
  await page.getByRole('button', { name: 'Mark all as read' }).click()
  await expect(unread(page)).toHaveText('0 unread')
})
