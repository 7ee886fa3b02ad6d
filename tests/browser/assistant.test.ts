/** The assistant: two people, one conversation, answers that grow. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Page } from '@playwright/test'
import { expect, expectAccessible, expectPresent, type Person, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')

const server = serverOfThisFile()
const app = { url: '' }
const backends: ChildProcess[] = []

/** Start the backend. Resolves with its address. */
async function start(settings: Record<string, string>): Promise<string> {
  const env = { ...process.env, AEROSTACK_URL: server.url, ...settings }
  const command = ['-m', 'uvicorn', '--app-dir', join(ROOT, 'examples/assistant'), 'app:app', '--port', '0']
  const backend = spawn(PYTHON, command, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  backends.push(backend)
  const said: string[] = []
  for await (const line of createInterface(backend.stderr)) {
    said.push(line)
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]
    if (!url) continue
    backend.stderr.resume()
    return url
  }
  throw new Error(`The backend ended before it listened:\n${said.join('\n')}`)
}

test.beforeAll(async () => {
  await server.query('DROP TABLE IF EXISTS tasks')
  app.url = await start({ ASSISTANT_PIECES_PER_SECOND: '4' })
})

test.afterAll(async () => {
  for (const backend of backends) {
    const ended = once(backend, 'exit')
    backend.kill('SIGKILL')
    await ended
  }
})

async function ask({ page }: Person, text: string): Promise<void> {
  await page.getByLabel('Ask the assistant').fill(text)
  await page.keyboard.press('Enter')
}

/** The answer that says `text`. */
const saying = (page: Page, text: string) => page.locator('#messages > li.answer').filter({ hasText: text })

test('a tool changes rows that both see beside the answer', async ({ arrive }) => {
  const ada = await arrive(app, '/', 'Ada')
  const bob = await arrive(app, '/', 'Bob')
  for (const { page } of [ada, bob]) await expectPresent(page, 'Here now', ['Ada', 'Bob', 'Assistant'])
  await ask(ada, 'Add buy oats')
  for (const { page } of [ada, bob]) {
    await expect(page.getByRole('list', { name: 'Tasks' })).toHaveText('buy oats')
    const answer = saying(page, 'add_task("buy oats")')
    await expect(answer).toContainText('shows it already.')
    await expect(answer.getByRole('button', { name: 'Stop' })).toHaveCount(0)
  }
  await ask(bob, 'Finish oats')
  await expect(ada.page.locator('#tasks li.done')).toHaveText('buy oats')
  await expectAccessible(ada.page)
})

test('an answer survives a reload, late joiners see it, and either stops it', async ({ arrive }) => {
  // A word a second: the story lasts until Bob is there, however busy the machine is.
  const slow = { url: await start({ ASSISTANT_PIECES_PER_SECOND: '1' }) }
  const ada = await arrive(slow, '/', 'Ada')
  await ask(ada, 'Tell me a story')
  const answer = saying(ada.page, 'Nobody is announced')
  await expect(answer).toContainText('writing…')
  await ada.page.reload()
  await expect(answer).toContainText('writing…')
  const bob = await arrive(slow, '/', 'Bob')
  const same = saying(bob.page, 'Nobody is announced')
  await same.getByRole('button', { name: 'Stop' }).click()
  for (const each of [answer, same]) await expect(each).toContainText('stopped')
  const text = await same.locator('p').textContent()
  await expect(answer.locator('p')).toHaveText(text ?? '')
  expect(text).not.toContain('tomorrow')
  await bob.page.reload()
  await expect(same).toContainText('stopped')
  await expect(same.locator('p')).toHaveText(text ?? '')
})

test('Stop closes the request to a model with the interface of OpenAI', async ({ arrive }) => {
  const asked: string[] = []
  const model = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const content of ['Ich ', 'denke'])
      response.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`)
  })
  model.listen(0, '127.0.0.1')
  await once(model, 'listening')
  const { port } = model.address() as AddressInfo
  const url = await start({ OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` })
  const ada = await arrive({ url }, '/', 'Ada')
  const closed = new Promise((resolve) => model.on('request', (_, response) => response.on('close', resolve)))
  await ask(ada, 'Think.')
  const answer = saying(ada.page, 'Ich denke')
  await expect(answer).toContainText('writing…')
  expect(asked).toEqual(['POST /v1/chat/completions'])
  await answer.getByRole('button', { name: 'Stop' }).click()
  await closed
  await expect(answer).toContainText('stopped')
  model.close()
})
