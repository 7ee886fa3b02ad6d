/** Editors with their own bindings of Yjs, on this provider. Nothing in the pages is special to it. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type BrowserContext, expect, type Page, test } from '@playwright/test'
import { build } from 'vite'
import { serverOfThisFile } from './server.ts'

const EDITORS = { CodeMirror: 'codemirror.ts', Lexical: 'lexical.tsx' }
const PAGE =
  '<!doctype html><output id="status"></output><div id="editor"></div><script src="page.js"></script>'
const server = serverOfThisFile()

for (const [editor, entry] of Object.entries(EDITORS)) {
  test(`two people write in ${editor}, and see each other’s cursor`, async ({ browser }) => {
    const pages = await serve(await bundled(join(import.meta.dirname, 'bindings', entry)))
    const contexts = await Promise.all([browser.newContext(), browser.newContext()])
    try {
      const { port } = pages.address() as AddressInfo
      const [amelia, bessie] = await Promise.all([
        open(contexts[0], port, editor, 'Amelia'),
        open(contexts[1], port, editor, 'Bessie'),
      ])
      await text(amelia).click()
      await amelia.keyboard.type('Wheels up')
      await expect(text(bessie)).toContainText('Wheels up')
      await expect(bessie.locator('body')).toContainText('Amelia') // on the cursor
      await text(bessie).click()
      await bessie.keyboard.press('Control+End')
      await bessie.keyboard.type(' at nine')
      await expect(text(amelia)).toContainText('Wheels up')
      await expect(text(amelia)).toContainText('at nine')
      await expect(amelia.locator('body')).toContainText('Bessie')
    } finally {
      await Promise.all(contexts.map((context) => context.close()))
      pages.close()
    }
  })
}

const text = (page: Page) => page.getByRole('textbox', { name: 'Text' })

async function open(context: BrowserContext, port: number, editor: string, name: string): Promise<Page> {
  const page = await context.newPage()
  const parameters = new URLSearchParams({ server: server.url, topic: `docs/${editor}`, as: name })
  await page.goto(`http://127.0.0.1:${port}/?${parameters}`)
  await expect(page.locator('#status')).toHaveText('synced')
  return page
}

/** A server of the page with one script. */
async function serve(script: string): Promise<Server> {
  const pages = createServer(({ url }, response) => {
    const [type, body] = url === '/page.js' ? ['text/javascript', script] : ['text/html', PAGE]
    response.setHeader('Content-Type', `${type}; charset=utf-8`).end(body)
  }).listen(0, '127.0.0.1')
  await once(pages, 'listening')
  return pages
}

/** The script `entry` with what it imports. */
async function bundled(entry: string): Promise<string> {
  const result = await build({
    logLevel: 'warn',
    configFile: false,
    define: { 'process.env.NODE_ENV': '"production"' },
    build: { write: false, minify: false, lib: { entry, formats: ['iife'], name: 'binding' } },
  })
  const [output] = [result].flat()
  if (!output || !('output' in output)) throw new Error('Vite watches, and does not build.')
  return output.output[0].code
}
