import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
const HOME = 'https://github.com/aerostack-realtime/aerostack-realtime'

test('package.json names license, repository, homepage and keywords', () => {
  const { license, repository, homepage, keywords } = JSON.parse(read('package.json'))
  expect(license).toBe('Apache-2.0')
  expect(read('LICENSE')).toContain('Apache License')
  expect(repository).toEqual({ type: 'git', url: `git+${HOME}.git`, directory: 'packages/realtime' })
  expect(homepage).toBe(`${HOME}#readme`)
  expect(keywords).toContain('realtime')
})

test('links in the README are absolute, or lead to one of its headings', () => {
  const text = read('README.md')
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(
    ([, title = '']) => `#${title.toLowerCase().replace(/ /g, '-')}`,
  )
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link)
  expect(links.length).toBeGreaterThan(5)
  expect(links.filter((link) => !link.startsWith('https://') && !headings.includes(link))).toEqual([])
})
