/**
 * The path of a new user: pack, install the tarball in an empty Vite app outside the repository, paste the
 * reference's ChatRoom, build. Also: the tarball loads by `import` and by `require`, and its types resolve for both.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const home = join(import.meta.dirname, '../..')
const app = mkdtempSync(join(tmpdir(), 'aerostack-app-'))
const { devDependencies: versions } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))

function run(command, ...args) {
  return execFileSync(command, args, { cwd: app, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

function write(name, text) {
  writeFileSync(join(app, name), text)
}

try {
  execFileSync('npm', ['pack', '--pack-destination', app], {
    cwd: home,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const tarball = readdirSync(app).find((name) => name.endsWith('.tgz'))
  write('package.json', JSON.stringify({ private: true, type: 'module' }))
  run(
    'npm',
    'install',
    '--no-audit',
    '--no-fund',
    `./${tarball}`,
    ...[
      'react',
      'react-dom',
      'vite',
      '@vitejs/plugin-react',
      'typescript',
      '@types/react',
      '@types/react-dom',
    ].map((name) => `${name}@${versions[name]}`),
  )

  for (const name of ['LICENSE', 'README.md'])
    if (!existsSync(join(app, 'node_modules/aerostack-realtime', name)))
      throw new Error(`The tarball has no ${name}.`)

  cpSync(join(home, 'tests/reference/ChatRoom.tsx'), join(app, 'ChatRoom.tsx'))
  write('vite.config.ts', `import react from '@vitejs/plugin-react'\nexport default { plugins: [react()] }`)
  write('index.html', '<div id="root"></div><script type="module" src="/main.tsx"></script>')
  write(
    'main.tsx',
    `import { AerostackProvider } from 'aerostack-realtime/react'
     import { createRoot } from 'react-dom/client'
     import { ChatRoom } from './ChatRoom'
     createRoot(document.getElementById('root')!).render(
       <AerostackProvider url="http://localhost:8787"><ChatRoom roomId="general" /></AerostackProvider>,
     )`,
  )
  run('npx', 'vite', 'build', '--logLevel', 'warn')
  const chunks = readdirSync(join(app, 'dist/assets'))
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(app, 'dist/assets', name), 'utf8'))
  const count = (text) => chunks.filter((chunk) => chunk.includes(text)).length
  if (count('aerostack-v1') !== 1) throw new Error('The built app does not contain the client.')
  const apart = chunks.find((chunk) => chunk.includes('onupgradeneeded'))
  if (!apart || apart.includes('aerostack-v1'))
    throw new Error('The store of the outbox is not a chunk of its own.')

  const names = 'createClient, createServer, liveTable, AerostackProvider, useTable, RealtimeChatTransport'
  // Node has no IndexedDB: this error shows that the chunk that needs it was found.
  const use = `if ([${names}].some((each) => typeof each !== 'function')) throw new Error('Something is missing.')
    createClient({ url: 'http://localhost', persistOutbox: true, onError: ({ code, message }) => {
      if (code !== 'storage' || !message.includes('indexedDB')) throw new Error(message)
      console.log('reported')
    } })`
  write(
    'esm.mjs',
    `import { createClient } from 'aerostack-realtime'
    import { liveTable } from 'aerostack-realtime/table'
    import { createServer } from 'aerostack-realtime/server'
    import { RealtimeChatTransport } from 'aerostack-realtime/ai-sdk'
    import { AerostackProvider, useTable } from 'aerostack-realtime/react'\n${use}`,
  )
  write(
    'cjs.cjs',
    `const { createClient } = require('aerostack-realtime')
    const { liveTable } = require('aerostack-realtime/table')
    const { createServer } = require('aerostack-realtime/server')
    const { RealtimeChatTransport } = require('aerostack-realtime/ai-sdk')
    const { AerostackProvider, useTable } = require('aerostack-realtime/react')\n${use}`,
  )
  for (const file of ['esm.mjs', 'cjs.cjs'])
    if (run('node', file).trim() !== 'reported')
      throw new Error(`${file} did not load the store of the outbox.`)

  const typed = (load) => `${load}
    const client = createClient()
    const channel = client.channel<{ message: { text: string } }>('chat/1')
    channel.on('message', ({ data }) => data.text.length)
    // @ts-expect-error: a message has a text
    channel.publish('message', { txt: '' })\n`
  write('types.mts', typed("import { createClient } from 'aerostack-realtime'"))
  write(
    'types.cts',
    typed("import aerostack = require('aerostack-realtime')\nconst { createClient } = aerostack"),
  )
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', '']
  run('npx', 'tsc', ...options, 'types.mts', 'types.cts')

  console.log(`ok: ${tarball} installs, builds with Vite, loads by import and require, and is typed for both`)
} finally {
  rmSync(app, { recursive: true, force: true })
}
