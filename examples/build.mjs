/** Builds all that a server has for browsers: the start page, the examples, the console, the client as ES modules. */
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { build } from 'vite'

const root = `${import.meta.dirname}/`
const web = `${root}../src/aerostack_realtime/web`
const client = `${root}../packages/realtime/dist/browser`
const APPS = [
  'chat',
  'todos',
  'dashboard',
  'cursors',
  'auction',
  'support',
  'notifications',
  'game',
  'editor',
]

if (!existsSync(`${client}/aerostack.js`))
  throw new Error('The client is not built: run `npm run build:web`, which builds it first.')

// Beside it, then in its place: a running server keeps serving complete pages.
const next = `${web}.next`
rmSync(next, { recursive: true, force: true })
await page('home', next)
await page('../packages/console', `${next}/console`)
for (const app of APPS) await page(app, `${next}/examples/${app}`)
cpSync(`${root}plain`, `${next}/examples/plain`, { recursive: true })
cpSync(`${root}theme/mark.svg`, `${next}/examples/plain/mark.svg`)
cpSync(client, `${next}/sdk`, { recursive: true, filter: (path) => !path.endsWith('.map') })
rmSync(web, { recursive: true, force: true })
renameSync(next, web)
console.log(`built ${web}`)

async function page(app, outDir) {
  await build({ root: root + app, logLevel: 'warn', build: { outDir, emptyOutDir: false } })
}
