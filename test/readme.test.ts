/** What the README says of codes and libraries is what the code says. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import * as v from 'valibot'
import { errorCodes } from '../src/kit/errors.ts'
import { importsOf } from './support/imports.ts'

// Two folders up from the compiled file, whatever the build folder is called.
const root = resolve(import.meta.dirname, '../..')
const readme = readFileSync(resolve(root, 'README.md'), 'utf8')

const { dependencies } = v.parse(
  v.object({ dependencies: v.record(v.string(), v.string()) }),
  JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')),
)
const installed = Object.keys(dependencies).toSorted()

test('the table of error codes is that of the code', () => {
  const [, section = ''] = readme.split(/^## Error codes$/m)
  const rows = [...section.matchAll(/^\| ([A-Z][A-Z_]+) \| (.*) \|$/gm)].map((row) => [row[1], row[2]])
  assert.deepEqual(rows, Object.entries(errorCodes))
})

test('the table of libraries names all that the code imports, with its reason, and first what is installed', () => {
  const section = /^## Libraries$([^]*?)^## /m.exec(readme)?.[1] ?? ''
  const rows = [...section.matchAll(/^\| ([a-z@].*?) \| .+ \|$/gm)].slice(1)
  const named = rows.flatMap((row) => (row[1] ?? '').split(', '))
  const files = readdirSync(resolve(root, 'src'), { recursive: true, encoding: 'utf8' })
  const imported = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => importsOf(readFileSync(resolve(root, 'src', file), 'utf8')))
    .flatMap(({ specifier }) => /^(?!\.|node:)(?:@[^/]+\/)?[^/]+/.exec(specifier ?? '')?.[0] ?? [])
  assert.deepEqual(named.toSorted(), [...new Set(imported)].toSorted())
  assert.deepEqual(named.slice(0, installed.length).toSorted(), installed)
})

test('what the bundle leaves out is installed with it', () => {
  const [, external = ''] = /external: \[(.*)\]/.exec(readFileSync(resolve(root, 'build.mjs'), 'utf8')) ?? []
  const names = [...external.matchAll(/'(.+?)'/g)].map((match) => match[1] ?? '')
  // pg looks for it, and does without.
  assert.deepEqual(names.filter((name) => name !== 'pg-native').toSorted(), installed)
})
