/** The console explains every cause of docs/guides/explain.md, with the code and the sentence of the guide. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, type Page, test } from '@playwright/test'

interface Causes {
  key: string
  asked: { cause: string; url: string; question: Record<string, string> }[]
  expected: { cause: string; code: string; sentence: string }[]
}

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
// The servers, PostgreSQL and Redis start on a machine that may be busy with other tests.
test.describe.configure({ timeout: 300_000 })

async function signIn(page: Page, url: string, key: string): Promise<void> {
  await page.goto(`${url}/console/`)
  await page.getByLabel('Secret key or operator’s token').fill(key)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible()
}

test('the console explains every cause as the guide says', async ({ page }) => {
  const child = spawn(PYTHON, ['-m', 'tests.flow.causes'], { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  try {
    const failed = ended.then(([code]) => {
      throw new Error(`The causes were not produced: exit code ${code}`)
    })
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), failed])) as [string]
    const { key, asked, expected }: Causes = JSON.parse(line)
    const promised = new Map(expected.map((each) => [each.cause, each]))
    expect(asked.map((each) => each.cause).sort()).toEqual([...promised.keys()].sort())
    const answer = page.getByRole('region', { name: 'Answer' })
    for (const url of new Set(asked.map((each) => each.url))) {
      await signIn(page, url, key)
      for (const { cause, question } of asked.filter((each) => each.url === url)) {
        const { code, sentence } = promised.get(cause) ?? { code: '', sentence: '' }
        // A busy machine may keep Redis waiting: the page reports it, and is asked again.
        await expect(async () => {
          await page.goto(`${url}/console/#/explain`)
          await page.goto(`${url}/console/#/explain?${new URLSearchParams(question)}`)
          await expect(answer.or(page.getByRole('alert')).first()).toBeVisible()
          await expect(answer.locator('.verdict'), cause).toHaveText(new RegExp(`^${sentence}$`), {
            timeout: 1_000,
          })
        }).toPass()
        await expect(answer, cause).toContainText(`${code} · answered by`)
      }
    }
  } finally {
    child.stdin.end()
    await ended
  }
})
