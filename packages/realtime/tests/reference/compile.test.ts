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

test('the programs of the README compile, strictly', { timeout: 60_000 }, async () => {
  const programs = mkdtempSync(join(here, 'strict-'))
  try {
    const readme = readFileSync(join(here, '../../README.md'), 'utf8')
    const blocks = [...readme.matchAll(/^```tsx?\n(import .*?)^```/gms)].map(([, code = '']) => code)
    expect(blocks).toHaveLength(5)
    for (const [index, code] of blocks.entries()) writeFileSync(join(programs, `Program${index}.tsx`), code)
    const config = JSON.parse(readFileSync(join(here, 'strict.json'), 'utf8'))
    config.compilerOptions.types = ['node']
    writeFileSync(join(programs, 'tsconfig.json'), JSON.stringify(config))
    expect(await compile(programs)).toBe('')
  } finally {
    rmSync(programs, { recursive: true })
  }
})
