/** What the README says of codes and libraries is what the code says. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { errorCodes } from '../src/kit/errors.ts'

// Two folders up from the compiled file, whatever the build folder is called.
const root = resolve(import.meta.dirname, '../..')
const readme = readFileSync(resolve(root, 'README.md'), 'utf8')

test('the table of error codes is that of the code', () => {
  const [, section = ''] = readme.split(/^## Error codes$/m)
  const rows = [...section.matchAll(/^\| ([A-Z][A-Z_]+) \| (.*) \|$/gm)].map((row) => [row[1], row[2]])
  assert.deepEqual(rows, Object.entries(errorCodes))
})

test('every runtime dependency is named, with its reason', () => {
  const { dependencies } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) assert.ok(readme.includes(name), `${name} is not in the README`)
})
