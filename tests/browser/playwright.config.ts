import { defineConfig } from '@playwright/test'
import { launchOptions } from './launch.ts'

export default defineConfig({
  testDir: '.',
  testMatch: '*.test.ts',
  outputDir: '../../test-results/browser',
  retries: 0,
  workers: 2,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [['list']],
  use: { launchOptions, screenshot: 'only-on-failure', contextOptions: { reducedMotion: 'reduce' } },
})
