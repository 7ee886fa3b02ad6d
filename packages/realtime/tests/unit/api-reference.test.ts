import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
// @ts-expect-error a script without types
import { page } from '../../reference.mjs'

test('the reference of the API follows from the types', () => {
  const written = readFileSync(new URL('../../../../docs/reference/typescript.md', import.meta.url), 'utf8')
  expect(page(), 'run `make reference` and commit the result').toBe(written)
}, 60_000)
