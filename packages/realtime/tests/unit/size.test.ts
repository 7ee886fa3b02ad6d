import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const YJS = ['yjs', 'y-protocols/awareness', 'lib0/*']

/** Bytes of an entry, minified and compressed, without other entries and without the parts it loads on demand. */
async function size(entry: string): Promise<number> {
  const { outputFiles } = await build({
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    entryPoints: [`${import.meta.dirname}/../../src/${entry}`],
    external: [
      './outbox-store.js',
      './filter.js',
      './streams.js',
      './message-history.js',
      'aerostack-realtime',
      ...YJS,
    ],
  })
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
}

test('the core is at most 7.5 KiB, minified and compressed', async () => {
  expect(await size('index.ts')).toBeLessThanOrEqual(7.5 * 1024)
})

test('live tables add at most 3 KiB', async () => {
  expect(await size('table/index.ts')).toBeLessThanOrEqual(3 * 1024)
})

test('the server SDK is at most 3 KiB', async () => {
  expect(await size('server/index.ts')).toBeLessThanOrEqual(3 * 1024)
})

test('the provider for Yjs adds at most 4 KiB', async () => {
  expect(await size('yjs/index.ts')).toBeLessThanOrEqual(4 * 1024)
})
