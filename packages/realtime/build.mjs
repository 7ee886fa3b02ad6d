/** Builds dist/: `esm` and `cjs` file by file, types beside each, and `browser` with one ES module per entry. */
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { build } from 'esbuild'

process.chdir(import.meta.dirname)
const dist = `node_modules/.dist-${process.pid}` // others may read the last build until this one is complete

const sources = readdirSync('src', { recursive: true })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `src/${name}`)
const target = 'es2022'

const platform = 'node' // annotates the exports of CommonJS files, which `import()` needs
for (const format of ['esm', 'cjs'])
  await build({
    entryPoints: sources,
    outbase: 'src',
    outdir: `${dist}/${format}`,
    sourcemap: true,
    format,
    target,
    platform,
  })
writeFileSync(`${dist}/cjs/package.json`, '{ "type": "commonjs" }\n')

const require = createRequire(import.meta.url)
const tsc = require.resolve('typescript/package.json').replace(/package\.json$/, 'bin/tsc')
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', `${dist}/esm`], {
  stdio: 'inherit',
})
cpSync(`${dist}/esm`, `${dist}/cjs`, { recursive: true, filter: (path) => !/\.js(\.map)?$/.test(path) })

/** The files of the browser build, which import each other as neighbours. */
const BROWSER = {
  aerostack: 'src/index.ts',
  'aerostack-table': 'src/table/index.ts',
  'aerostack-react': 'src/react/index.ts',
  'aerostack-outbox-store': 'src/outbox-store.ts',
  'aerostack-filter': 'src/filter.ts',
  'aerostack-streams': 'src/streams.ts',
  'aerostack-message-history': 'src/message-history.ts',
}
const LOADED_ON_DEMAND = ['aerostack-streams', 'aerostack-message-history']
for (const [name, entry] of Object.entries(BROWSER))
  await build({
    bundle: true,
    minify: true,
    format: 'esm',
    target,
    legalComments: 'none',
    entryPoints: [entry],
    outfile: `${dist}/browser/${name}.js`,
    external: ['react'],
    plugins: [
      {
        name: 'neighbours',
        setup: ({ onResolve }) => {
          const neighbour = (path) => () => ({ path, external: true })
          onResolve({ filter: /^aerostack-realtime$/ }, neighbour('./aerostack.js'))
          onResolve({ filter: /^aerostack-realtime\/table$/ }, neighbour('./aerostack-table.js'))
          onResolve({ filter: /^\.\/outbox-store\.js$/ }, neighbour('./aerostack-outbox-store.js'))
          onResolve({ filter: /^\.\/filter\.js$/ }, neighbour('./aerostack-filter.js'))
          onResolve({ filter: /^\.\/streams\.js$/ }, neighbour('./aerostack-streams.js'))
          onResolve({ filter: /^\.\/message-history\.js$/ }, neighbour('./aerostack-message-history.js'))
          if (LOADED_ON_DEMAND.includes(name))
            // apps compare errors with the class of the core
            onResolve({ filter: /^\.\/errors\.js$/ }, neighbour('./aerostack.js'))
        },
      },
    ],
  })

rmSync('dist', { recursive: true, force: true })
renameSync(dist, 'dist')
