import { defineConfig } from '@playwright/test'
import { launchOptions } from './launch.ts'

/** In these tests it is about noon, so that none of them meets midnight on its way. */
function timezone(): string {
  const east = 12 - new Date().getUTCHours()
  return `Etc/GMT${east > 0 ? '-' : '+'}${Math.abs(east)}` // POSIX counts to the west
}

export default defineConfig({
  testDir: '.',
  testMatch: '*.test.ts',
  outputDir: '../../test-results/browser',
  retries: 0,
  workers: 2,
  timeout: 240_000,
  expect: { timeout: 60_000 },
  reporter: [['list']],
  use: {
    launchOptions,
    screenshot: 'only-on-failure',
    timezoneId: timezone(),
    contextOptions: { reducedMotion: 'reduce' },
  },
})
