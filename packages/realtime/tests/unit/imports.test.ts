import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path/posix'
import { expect, test } from 'vitest'

const SOURCE = `${import.meta.dirname}/../../src`
const ENTRIES: Record<string, string> = {
  'aerostack-realtime': 'index.ts',
  'aerostack-realtime/table': 'table/index.ts',
  'aerostack-realtime/ai-sdk': 'ai-sdk/index.ts',
  'aerostack-realtime/yjs': 'yjs/index.ts',
  'aerostack-realtime/react': 'react/index.ts',
  'aerostack-realtime/server': 'server/index.ts',
}

/** What each file imports at run time, also on demand. Types do not count. */
function imports(): Map<string, string[]> {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  return new Map(
    files.map((file) => {
      const code = readFileSync(join(SOURCE, file), 'utf8').replace(
        /^(import|export) type [^']*'[^']*'/gm,
        '',
      )
      const names = [...code.matchAll(/(?:from |import\()'([^']+)'/g)].map(([, name = '']) => name)
      const local = names.filter((name) => name.startsWith('.') || ENTRIES[name])
      return [file, local.map((name) => ENTRIES[name] ?? join(file, '..', name).replace(/\.js$/, '.ts'))]
    }),
  )
}

test('no file imports itself, directly or through others', () => {
  const all = imports()
  const reached = (file: string, seen = new Set<string>()): Set<string> => {
    for (const next of all.get(file) ?? [])
      if (!seen.has(next)) {
        seen.add(next)
        reached(next, seen)
      }
    return seen
  }
  expect(all.get('client.ts')).toContain('outbox-store.ts')
  expect([...all.values()].flat().filter((file) => !all.has(file))).toEqual([])
  expect([...all.keys()].filter((file) => reached(file).has(file))).toEqual([])
})
