/** Packs, installs and uses the package with the real server in runtimes other than Node and browsers. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const home = join(import.meta.dirname, '../..')
const app = mkdtempSync(join(tmpdir(), 'aerostack-runtimes-'))
const VERSIONS = ['deno@2.9.6', 'bun@1.4.5']
const quiet = { cwd: app, stdio: ['ignore', 'ignore', 'inherit'] }
const RUNTIMES = [
  ['deno', ['run', '--allow-net', '--allow-read', '--allow-env']],
  ['bun', ['run']],
]

const server = spawn(
  join(home, '../../.venv/bin/aerostack'),
  ['dev', '--port', '0', '--db', join(app, 'app.db')],
  { cwd: app, stdio: ['ignore', 'pipe', 'inherit'] },
)
try {
  let url
  for await (const line of createInterface(server.stdout)) {
    url = /listening on (http:[^\s,]+)/.exec(line)?.[1]
    if (url) break
  }
  server.stdout.resume()
  for (const sql of [
    'CREATE TABLE items (id INTEGER PRIMARY KEY)',
    'INSERT INTO items VALUES (1), (2), (3)',
  ]) {
    const response = await fetch(`${url}/v1/db/query`, {
      method: 'POST',
      headers: { Authorization: 'Bearer ac_secret_dev', 'Content-Type': 'application/json' },
      body: JSON.stringify({ sql }),
    })
    if (!response.ok) throw new Error(await response.text())
  }
  execFileSync('npm', ['pack', '--pack-destination', app], { ...quiet, cwd: home })
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const tarball = readdirSync(app).find((name) => name.endsWith('.tgz'))
  execFileSync(
    'npm',
    ['install', '--no-audit', '--no-fund', '--loglevel=error', `./${tarball}`, ...VERSIONS],
    quiet,
  )
  cpSync(join(import.meta.dirname, 'smoke.mjs'), join(app, 'smoke.mjs'))
  for (const [name, options] of RUNTIMES) {
    const program = join(app, 'node_modules/.bin', name)
    const { stdout } = await promisify(execFile)(program, [...options, 'smoke.mjs', url], {
      cwd: app,
      timeout: 60_000,
    })
    if (stdout.trim() !== 'ok') throw new Error(`${name}: ${stdout}`)
  }
  console.log(`ok: ${VERSIONS.join(' and ')} talk to the server`)
} finally {
  server.kill('SIGKILL')
  await once(server, 'exit')
  rmSync(app, { recursive: true, force: true })
}
