/**
 * Bundles the command into two folders, which bin/ starts and the package holds: dist/bundle/cli, with the status page
 * beside it in page/, and dist/bundle/fetch. The files of src/ and of the libraries become a few: to find and open hundreds
 * of files costs more than what is in them, and `fetch` and `push` start with every segment. What is imported with import()
 * stays in files of its own, loaded when it is used.
 *
 * What two commands share lies in files that no third one loads in vain, so of many commands there are many small files.
 * `fetch`, for which a recovery waits, has a bundle to itself, and two things are done for it there:
 *
 * - What it always loads is one file: it is made a part of whatever else is loaded, so that nothing sets its modules apart.
 * - The few parts of the AWS SDK with which it reads an object are one file, too, although the SDK's client holds them as
 *   well: shared with it, they would be spread over five, with 220 kB instead of 60.
 *
 * The code is not minified: a stack trace can be read without a map.
 *
 *     node build.mjs [FOLDER]      the folder of the build; default: dist
 */
import { cp } from 'node:fs/promises'
import { build } from 'esbuild'

const [folder = 'dist'] = process.argv.slice(2)

const apart = {
  name: 'apart',
  setup: ({ onResolve }) => onResolve({ filter: /\/s3-parts\.ts$/ }, () => ({ path: './s3-parts.js', external: true })),
}

/** To import node:http makes Node.js 22 and later load its WebSocket, too, in 35 ms, as one of the names that are exported. */
const http = {
  name: 'http',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:http$/ }, ({ path }) => ({ path, namespace: 'built-in' }))
    onLoad({ filter: /^/, namespace: 'built-in' }, ({ path }) => ({
      contents: `const http = process.getBuiltinModule('${path}')
        export const { Agent, createServer, request } = http
        export default http`,
    }))
  },
}

// All in one folder: each is looked for beside the code that starts it.
await bundle('cli', { main: 'src/cli/main.ts', 'codec-worker': 'src/archive/codec-worker.ts' })
await bundle(
  'fetch',
  { main: 'src/cli/fetch-main.ts', 'prefetch-main': 'src/cli/prefetch-main.ts' },
  { inject: ['src/cli/fetch.ts'], plugins: [apart, http] },
)
await bundle('fetch', { 's3-parts': 'src/store/s3-parts.ts' })

/** Into a folder as deep as dist/src/cli is: from all of them, the root of the package is three folders up. */
async function bundle(name, entryPoints, more = {}) {
  await build({
    entryPoints,
    outdir: `${folder}/bundle/${name}`,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    // The libraries' own ES modules where they have them: of those, what nobody uses is left out.
    mainFields: ['module', 'main'],
    // Machine code, WebAssembly that comes with its loader, and what pg looks for in vain. All but the last are the
    // package's dependencies; every other library is one of its development, because it is in the bundle.
    external: ['@node-rs/crc32', 'fs-native-extensions', 'lz4-napi', 'libsodium-wrappers', 'pg-native'],
    // For libraries that are no ES modules.
    banner: {
      js: "import { createRequire as requireBeside } from 'node:module'; const require = requireBeside(import.meta.url);",
    },
    legalComments: 'inline',
    plugins: [http],
    logLevel: 'warning',
    ...more,
  })
}

// The page's script is one file, and lies with the rest of the page beside the module that serves it: in the bundle, and
// in dist/src, which the tests of modules import.
const page = `${folder}/src/serve/page`
await build({
  entryPoints: ['src/serve/page/main.ts'],
  outdir: page,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  logLevel: 'warning',
})
for (const file of ['index.html', 'page.css', 'icon.svg']) await cp(`src/serve/page/${file}`, `${page}/${file}`)
for (const file of ['index.html', 'page.css', 'icon.svg', 'main.js']) {
  await cp(`${page}/${file}`, `${folder}/bundle/cli/page/${file}`)
}
