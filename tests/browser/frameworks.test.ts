/** The pages of the examples for web frameworks, with the client that the realtime server serves. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from '@playwright/test'
import { serverOfThisFile } from './server.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
const EXAMPLES = join(ROOT, 'examples/frameworks')
// `make .tools/nextjs` installs there what the example's package.json names.
const NEXTJS = join(ROOT, '.tools/nextjs')
const NEXT = [process.execPath, join(NEXTJS, 'node_modules/next/dist/bin/next')]
const COMMANDS = {
  fastapi: [PYTHON, '-m', 'uvicorn', '--app-dir', EXAMPLES, 'fastapi_app:app', '--port', '0'],
  flask: [PYTHON, '-m', 'flask', '--app', join(EXAMPLES, 'flask_app.py'), 'run', '--port', '0'],
  django: [PYTHON, join(EXAMPLES, 'django_app.py'), 'runserver', '--noreload', '0'],
  nextjs: [...NEXT, 'start', '--hostname', '127.0.0.1', '--port', '0'],
}

const ENVIRONMENT = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' }

const server = serverOfThisFile()

test.beforeAll(() => {
  test.setTimeout(240_000)
  const client = join(NEXTJS, 'node_modules/aerostack-realtime')
  cpSync(join(EXAMPLES, 'nextjs/app'), join(NEXTJS, 'app'), { recursive: true })
  cpSync(join(ROOT, 'packages/realtime/dist'), join(client, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'packages/realtime/package.json'), join(client, 'package.json'))
  const [node = '', ...next] = NEXT
  execFileSync(node, [...next, 'build'], { cwd: NEXTJS, env: ENVIRONMENT })
})

for (const [framework, command] of Object.entries(COMMANDS)) {
  test(`an order in ${framework} shows as a row and as an event`, async ({ page }) => {
    await server.query('DROP TABLE IF EXISTS orders')
    const [app, url] = await start(command)
    try {
      await page.goto(url)
      await page.getByRole('button', { name: 'Order tea' }).click()
      await expect(page.locator('#news')).toHaveText('shipped: tea')
      await expect(page.locator('#orders')).toHaveText('1: tea')
    } finally {
      const ended = once(app, 'exit')
      app.kill('SIGKILL')
      await ended
    }
  })
}

/** The process of an example, and its address. */
async function start([program = '', ...rest]: string[]): Promise<[ChildProcess, string]> {
  const env = { ...ENVIRONMENT, AEROSTACK_URL: server.url, PYTHONUNBUFFERED: '1' }
  const app = spawn(program, rest, { cwd: NEXTJS, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const url = await Promise.any([address(app.stdout), address(app.stderr)])
  app.stdout.resume()
  app.stderr.resume()
  return [app, url]
}

async function address(output: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface(output)) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]
    if (url) return url
  }
  throw new Error('The example ended before it listened.')
}
