import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const LONGEST = 69

test('names of tests are short', () => {
  const tests = new URL('..', import.meta.url)
  const long = readdirSync(tests, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.test\.tsx?$/.test(name))
    .flatMap((name) => {
      const text = readFileSync(new URL(name, tests), 'utf8')
      return [...text.matchAll(/^ *(?:test|describe)\(\s*(['"`])(.*)\1/gm)].map(([, , title = '']) => title)
    })
    .filter((title) => title.length > LONGEST)
  expect(long).toEqual([])
})
