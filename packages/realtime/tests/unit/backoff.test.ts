import { expect, test } from 'vitest'
import { backoff, longestBackoff } from '../../src/backoff.js'

test('pauses are 1, 2, 4, 8, 16 and then 30 seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 500].map((attempt) => backoff(attempt, 0) / 1000)).toEqual([
    1, 2, 4, 8, 16, 30, 30, 30,
  ])
})

test('jitter shortens a pause by at most half', () => {
  expect(backoff(3, 0.999)).toBeGreaterThan(4_000)
  expect(backoff(3, 0.5)).toBe(6_000)
})

test('after a limit the pause is at least the longest back-off', () => {
  expect(longestBackoff(0)).toBe(30_000)
  expect(longestBackoff(0.999)).toBeLessThan(45_000)
})
