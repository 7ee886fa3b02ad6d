/**
 * The reference's React code compiles: word for word in a project without strict types, and in a strict project with
 * the type arguments that its page lost when it became HTML (`useState<Message[]>([])` is shown as `useState([])`).
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const here = import.meta.dirname
const tsc = join(createRequire(import.meta.url).resolve('typescript/package.json'), '../bin/tsc')

async function compile(project: string): Promise<string> {
  const run = promisify(execFile)(process.execPath, [tsc, '-p', project])
  return run.then(
    () => '',
    (failed) => failed.stdout,
  )
}

test('the code of the reference compiles word for word', { timeout: 60_000 }, async () => {
  expect(await compile(here)).toBe('')
})

test('the code of the reference compiles strictly, with its types', { timeout: 60_000 }, async () => {
  const strict = mkdtempSync(join(here, 'strict-'))
  try {
    for (const name of readdirSync(here).filter((name) => name.endsWith('.tsx'))) {
      const code = readFileSync(join(here, name), 'utf8')
        .replaceAll('useState([])', 'useState<any[]>([])')
        .replaceAll('useRef(null)', 'useRef<Channel | null>(null)')
        .replaceAll("useState('idle')", "useState<Status>('idle')")
      writeFileSync(join(strict, name), `import type { Channel, Status } from 'aerostack-realtime'\n${code}`)
    }
    cpSync(join(here, 'strict.json'), join(strict, 'tsconfig.json'))
    expect(await compile(strict)).toBe('')
  } finally {
    rmSync(strict, { recursive: true })
  }
})

test('the samples of the documentation compile, strictly', { timeout: 180_000 }, async () => {
  const programs = mkdtempSync(join(here, 'strict-'))
  try {
    expect(samples().length).toBeGreaterThan(10)
    for (const { name, code } of samples()) writeFileSync(join(programs, name), code)
    cpSync(join(here, 'samples.context.d.ts'), join(programs, 'context.d.ts'))
    const config = JSON.parse(readFileSync(join(here, 'strict.json'), 'utf8'))
    config.compilerOptions = { ...config.compilerOptions, types: ['node'], moduleDetection: 'force' }
    config.compilerOptions.paths['http://127.0.0.1:8787/sdk/aerostack.js'] = ['../../../src/index.ts']
    config.include = ['*']
    writeFileSync(join(programs, 'tsconfig.json'), JSON.stringify(config))
    expect(await compile(programs)).toBe('')
  } finally {
    rmSync(programs, { recursive: true })
  }
})

/** Each `ts` and `tsx` block, and each module of an `html` block, of the manuals and guides, named after its place. */
function samples(): { name: string; code: string }[] {
  const root = join(here, '../../../..')
  const guides = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((page) => page.endsWith('.md') && !/^(reference|decisions)/.test(page))
    .map((page) => `docs/${page}`)
  return ['README.md', 'packages/realtime/README.md', ...guides].flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8')
    const block = /^```(?:(tsx?)|html\n[^`]*<script type="module">)\n(.*?)^(?:```$|<\/script>)/gms
    return [...text.matchAll(block)].map(({ index, 1: language = 'ts', 2: code = '' }) => {
      const line = text.slice(0, index).split('\n').length
      return { name: `${page.replaceAll('/', '-').replace('.md', '')}-${line}.${language}`, code }
    })
  })
}
