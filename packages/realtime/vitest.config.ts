import { defineConfig } from 'vitest/config'

const alias = {
  'aerostack-realtime/table': `${import.meta.dirname}/src/table/index.ts`,
  'aerostack-realtime/server': `${import.meta.dirname}/src/server/index.ts`,
  'aerostack-realtime/ai-sdk': `${import.meta.dirname}/src/ai-sdk/index.ts`,
  'aerostack-realtime/yjs': `${import.meta.dirname}/src/yjs/index.ts`,
  'aerostack-realtime/react': `${import.meta.dirname}/src/react/index.ts`,
  'aerostack-realtime': `${import.meta.dirname}/src/index.ts`,
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'unit',
          include: ['tests/{unit,react,reference}/*.test.{ts,tsx}'],
          testTimeout: 60_000,
        },
      },
      {
        root: `${import.meta.dirname}/../console`,
        resolve: { alias },
        test: { name: 'console', include: ['tests/*.test.{ts,tsx}'], testTimeout: 60_000 },
      },
      {
        resolve: { alias },
        test: {
          name: 'integration',
          include: ['tests/integration/*.test.{ts,tsx}'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
