/** Builds dist/: `esm` and `cjs` file by file, types beside each, and `browser` with one ES module per entry. */
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { build } from 'esbuild'

process.chdir(import.meta.dirname)
const dist = `node_modules/.dist-${process.pid}` // others may be reading the last build until this one is complete

const sources = readdirSync('src', { recursive: true })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `src/${name}`)
const target = 'es2022'

for (const format of ['esm', 'cjs'])
  await build({ entryPoints: sources, outbase: 'src', outdir: `${dist}/${format}`, format, target })
writeFileSync(`${dist}/cjs/package.json`, '{ "type": "commonjs" }\n')

const require = createRequire(import.meta.url)
const tsc = require.resolve('typescript/package.json').replace(/package\.json$/, 'bin/tsc')
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', `${dist}/esm`], {
  stdio: 'inherit',
})
cpSync(`${dist}/esm`, `${dist}/cjs`, { recursive: true, filter: (path) => !path.endsWith('.js') })

const browser = { bundle: true, minify: true, format: 'esm', target, legalComments: 'none' }
await build({ ...browser, entryPoints: ['src/index.ts'], outfile: `${dist}/browser/aerostack.js` })
await build({
  ...browser,
  entryPoints: ['src/react/index.ts'],
  outfile: `${dist}/browser/aerostack-react.js`,
  external: ['react'],
  plugins: [
    {
      name: 'the core stands beside it',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^aerostack-realtime$/ }, () => ({ path: './aerostack.js', external: true })),
    },
  ],
})

rmSync('dist', { recursive: true, force: true })
renameSync(dist, 'dist')
