/**
 * The rooms of `src/`, and who may import whom: a file imports from its own room and from rooms of a lower rank.
 * Type-only imports, `import()` and `export ... from` count like any other. If a row turns out wrong, it is changed here
 * together with the code, in one commit that says why.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join, posix } from 'node:path'
import { test } from 'node:test'
import { type Import, importsOf } from './support/imports.ts'

const ranks: Readonly<Record<string, number>> = {
  kit: 0,
  wal: 1,
  metrics: 1,
  pg: 2,
  spool: 2,
  store: 2,
  archive: 3,
  cluster: 3,
  receive: 4,
  ship: 4,
  restore: 4,
  backup: 5, // above receive and ship, whose stream and shipper fetch the WAL that a backup needs
  audit: 4,
  serve: 5,
  check: 5,
  daemon: 6,
  cli: 7,
}

/** `fetch` and `push` start with every segment: what they load before they have looked is paid each time. */
const fastEntries = ['cli/main.ts', 'cli/fetch-main.ts', 'cli/fetch.ts', 'cli/push.ts']
const slowPackages = /^(?:@aws-sdk\/.*|@smithy\/.*|fzstd|sodium-native|libsodium.*|js-yaml|pino|prom-client|pg)$/

/** What reads S3 for `fetch` is there to do without the SDK's client. */
const lightEntry = 'store/s3-reader.ts'
const heavyPackages = /^@aws-sdk\//

const concreteStore = /^store\/(?:s3|directory)(?:-[a-z-]+)?\.ts$/
const collections = ['index.ts', 'utils.ts', 'util.ts', 'helpers.ts', 'common.ts', 'misc.ts']

interface Facts {
  /** Sources by path below `src/`, such as `kit/errors.ts`. */
  readonly sources: ReadonlyMap<string, string>
  /** `dependencies` of package.json: what is installed with the bundle. */
  readonly dependencies: readonly string[]
  /** `devDependencies`: among them what is in the bundle. */
  readonly devDependencies: readonly string[]
}

type Edge = Import & {
  readonly file: string /** Path below `src/` of a relative import. */
  readonly to: string | null
}

/** Everything that is wrong, as one line each; empty when the house is in order. */
function violations(facts: Facts): string[] {
  const edges = edgesOf(facts.sources)
  return [
    ...[...facts.sources.keys()].flatMap(wrongName),
    ...edges.flatMap((edge) => [...wrongTarget(edge, facts.sources), ...wrongRank(edge), ...wrongOwner(edge)]),
    ...[...facts.sources].flatMap(([file, source]) => withoutKey(file, source)),
    ...loadedFrom(fastEntries, slowPackages, edges).map((line) => `${line} with every start of fetch or push`),
    ...loadedFrom([lightEntry], heavyPackages, edges).map((line) => `${line} with ${lightEntry}`),
    ...wrongDependencies(edges, facts),
  ]
}

function edgesOf(sources: ReadonlyMap<string, string>): Edge[] {
  const edges: Edge[] = []
  for (const [file, source] of sources) {
    for (const one of importsOf(source)) {
      const relative = one.specifier?.startsWith('.') === true
      edges.push({ ...one, file, to: relative ? posix.join(posix.dirname(file), one.specifier ?? '') : null })
    }
  }
  return edges
}

function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

function wrongName(file: string): string[] {
  if (ranks[roomOf(file)] === undefined) return [`${file} lies in no room of the table`]
  return collections.includes(posix.basename(file)) ? [`${file}: a file is named after its one idea`] : []
}

function wrongTarget({ file, to, specifier, exportsAll }: Edge, sources: ReadonlyMap<string, string>): string[] {
  if (specifier === null) return [`${file} imports something that is computed, which this test cannot follow`]
  if (exportsAll) return [`${file} passes on all of "${specifier}": no barrels`]
  if (specifier.startsWith('/') || specifier.startsWith('file:')) return [`${file} imports "${specifier}" by its place`]
  if (to === null) {
    return isBuiltin(specifier) && !specifier.startsWith('node:')
      ? [`${file} imports "${specifier}" without node:`]
      : []
  }
  if (to.startsWith('..')) return [`${file} imports "${specifier}", which leaves src`]
  return sources.has(to) ? [] : [`${file} imports "${specifier}", and there is no ${to}`]
}

function wrongRank({ file, to }: Edge): string[] {
  if (to === null || to.startsWith('..')) return []
  const [from, into] = [roomOf(file), roomOf(to)]
  if (from === into || (ranks[into] ?? Infinity) < (ranks[from] ?? -1)) return []
  return [`${file} (${from}, rank ${ranks[from]}) imports ${to} (${into}, rank ${ranks[into]})`]
}

function wrongOwner({ file, to, specifier, kind }: Edge): string[] {
  const found: string[] = []
  if (specifier === 'prom-client' && file !== 'metrics/registry.ts') found.push(`${file} imports prom-client`)
  if (to !== null && concreteStore.test(to) && roomOf(file) !== 'store' && file !== 'cli/open-store.ts') {
    found.push(`${file} names a concrete store, ${to}`)
  }
  if (
    to === 'archive/codec.ts' &&
    kind !== 'type' &&
    !['archive/archive.ts', 'archive/codec-worker.ts'].includes(file)
  ) {
    found.push(`${file} encodes or decodes past the archive, which has the key`)
  }
  if (specifier === 'node:module') found.push(`${file} imports node:module, whose require() this test cannot follow`)
  return found
}

/** One place makes the archive, because it has read the key; everybody else is given it. */
function withoutKey(file: string, source: string): string[] {
  const makes = /\bnew Archive\(/.test(source) && file !== 'cli/open-store.ts'
  return makes ? [`${file} makes an archive, and does not know its key`] : []
}

/** Walks what loads together with `entries`. */
function loadedFrom(entries: readonly string[], packages: RegExp, edges: readonly Edge[]): string[] {
  const statics = edges.filter((edge) => edge.kind === 'static')
  const reached = new Set(entries)
  const found: string[] = []
  for (const file of reached) {
    for (const edge of statics.filter((one) => one.file === file)) {
      if (edge.to !== null) reached.add(edge.to)
      else if (packages.test(packageOf(edge))) found.push(`${file} loads ${packageOf(edge)}`)
    }
  }
  return found
}

function wrongDependencies(edges: readonly Edge[], { dependencies, devDependencies }: Facts): string[] {
  const declared = [...dependencies, ...devDependencies]
  const packages = edges.filter((edge) => edge.to === null && edge.specifier !== null && !isBuiltin(edge.specifier))
  const used = new Set(packages.map(packageOf))
  return [
    ...[...used].filter((name) => !declared.includes(name)).map((name) => `${name} is not in package.json`),
    ...dependencies.filter((name) => !used.has(name)).map((name) => `no file of src imports the dependency ${name}`),
  ]
}

/** `pg-protocol/dist/parser.js` -> `pg-protocol`. */
function packageOf(edge: Edge): string {
  const parts = (edge.specifier ?? '').split('/')
  return parts.slice(0, edge.specifier?.startsWith('@') === true ? 2 : 1).join('/')
}

test('every import of src keeps to the table of rooms and its rules', () => {
  const root = join(import.meta.dirname, '..', '..')
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  const sources = new Map(files.map((name) => [name, readFileSync(join(root, 'src', name), 'utf8')]))
  const manifest: Readonly<Record<string, object>> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const namesIn = (list: string): string[] => Object.keys(manifest[list] ?? {})
  assert.ok(edgesOf(sources).length > 100, 'the sources were found and read')
  const lists = { dependencies: namesIn('dependencies'), devDependencies: namesIn('devDependencies') }
  assert.deepEqual(violations({ sources, ...lists }), [])
})

const declared = { dependencies: ['prom-client'], devDependencies: ['@aws-sdk/client-s3', 'typescript'] }

/** A house in order, which each of the cases below breaks in one place. */
const sound: Readonly<Record<string, string>> = {
  'kit/errors.ts': "import { inspect } from 'node:util'\nexport const a = inspect",
  'wal/lsn.ts': "import { a } from '../kit/errors.ts'\nexport type Lsn = typeof a",
  'metrics/registry.ts': "import { Registry } from 'prom-client'\nexport { Registry }",
  'store/object-store.ts': '',
  'archive/codec.ts': '',
  'archive/archive.ts': "import { encode } from './codec.ts'",
  'store/s3.ts': "import { S3Client } from '@aws-sdk/client-s3'\nimport type { O } from './object-store.ts'",
  'cli/fetch.ts': "import type { Lsn } from '../wal/lsn.ts'",
  'cli/main.ts': "const { run } = await import('./fetch.ts')",
  'cli/open-store.ts': "const { S3Store } = await import('../store/s3.ts')",
}

const breaches: readonly (readonly [name: string, file: string, source: string, expected: RegExp])[] = [
  ['a static import of a higher room', 'kit/x.ts', "import { l } from '../wal/lsn.ts'", /kit, rank 0.*wal, rank 1/],
  ['one over several lines', 'kit/x.ts', "import {\n  l,\n} from '../wal/lsn.ts'", /kit\/x.ts .*rank/],
  ['an equal room', 'wal/x.ts', "import { Registry } from '../metrics/registry.ts'", /wal\/x.ts .*rank 1.*rank 1/],
  ['import type', 'kit/x.ts', "import type { Lsn } from '../wal/lsn.ts'", /kit\/x.ts .*rank/],
  ['import() with await', 'kit/x.ts', "const a = await import('../wal/lsn.ts')", /kit\/x.ts .*rank/],
  ['import() as a type', 'kit/x.ts', "type L = import('../wal/lsn.ts').Lsn", /kit\/x.ts .*rank/],
  ['export from', 'kit/x.ts', "export { a } from '../wal/lsn.ts'", /kit\/x.ts .*rank/],
  ['export type from', 'kit/x.ts', "export type { Lsn } from '../wal/lsn.ts'", /kit\/x.ts .*rank/],
  ['an import for its side effects', 'kit/x.ts', "import '../wal/lsn.ts'", /kit\/x.ts .*rank/],
  ['a file outside of every room', 'main.ts', '', /lies in no room/],
  ['a room that is not in the table', 'extra/x.ts', '', /lies in no room/],
  ['a barrel by its name', 'kit/index.ts', '', /one idea/],
  ['a drawer for everything', 'kit/utils.ts', '', /one idea/],
  ['a barrel by its content', 'kit/x.ts', "export * from './errors.ts'", /no barrels/],
  ['an import that leaves src', 'kit/x.ts', "import { s } from '../../test/support/s3-server.ts'", /leaves src/],
  [
    'an import of a file that is not there',
    'kit/x.ts',
    "import { a } from './errors.js'",
    /there is no kit\/errors.js/,
  ],
  ['a computed import', 'kit/x.ts', 'await import(name)', /computed/],
  ['an absolute import', 'kit/x.ts', "import { a } from '/srv/a.ts'", /by its place/],
  ['a built-in module without node:', 'kit/x.ts', "import { join } from 'path'", /without node:/],
  ['require()', 'kit/x.ts', "import { createRequire } from 'node:module'", /cannot follow/],
  ['prom-client elsewhere', 'serve/x.ts', "import { Gauge } from 'prom-client'", /serve\/x.ts imports prom-client/],
  ['a concrete store elsewhere', 'ship/x.ts', "import type { S3Store } from '../store/s3.ts'", /concrete store/],
  ['an object encoded past the key', 'ship/x.ts', "import { encode } from '../archive/codec.ts'", /past the archive/],
  ['an archive without its key', 'ship/x.ts', 'const archive = new Archive(store)', /does not know its key/],
  [
    'S3 with every start of fetch',
    'cli/fetch.ts',
    "import { S3Store } from '../store/s3.ts'",
    /store\/s3.ts loads @aws-sdk/,
  ],
  [
    'the same beside a type',
    'cli/fetch.ts',
    "import { type S3Store } from '../store/s3.ts'",
    /store\/s3.ts loads @aws-sdk/,
  ],
  [
    'the SDK with what does without it',
    'store/s3-reader.ts',
    "import { S3Store } from './s3.ts'",
    /store\/s3.ts loads @aws-sdk.* with store\/s3-reader.ts/,
  ],
  ['zstd with every start of fetch', 'cli/fetch.ts', "import { Decompress } from 'fzstd'", /cli\/fetch.ts loads fzstd/],
  [
    'sodium with every command',
    'cli/main.ts',
    "import sodium from 'sodium-native'",
    /cli\/main.ts loads sodium-native/,
  ],
  ['a package that nobody declared', 'kit/x.ts', "import { z } from 'zod/v4'", /zod is not in package.json/],
]

for (const [name, file, source, expected] of breaches) {
  test(`the test sees ${name}`, () => {
    const sources = new Map(Object.entries({ ...sound, [file]: source }))
    const found = violations({ sources, ...declared })
    assert.ok(
      found.some((line) => expected.test(line)),
      `seen: ${found.join('; ') || 'nothing'}`,
    )
  })
}

test('the test finds nothing in a house that is in order', () => {
  const sources = new Map(Object.entries(sound))
  assert.deepEqual(violations({ sources, ...declared }), [])
})

test('the test sees a dependency that nobody imports', () => {
  const sources = new Map(Object.entries(sound))
  const found = violations({ sources, ...declared, dependencies: ['prom-client', 'left-pad'] })
  assert.deepEqual(found, ['no file of src imports the dependency left-pad'])
})

test('comments, strings and words that look alike are no imports', () => {
  const source = `
/** Not \`import('../wal/lsn.ts')\`, and not
import { a } from 'a' */
// import { b } from 'b'
export const url = 'https://example/' // import('c')
export const from = 'd'
export function takes(importer: string): string {
  return importer('e')
}`
  assert.deepEqual(importsOf(source), [])
})
