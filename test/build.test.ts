/** The bundle of `fetch`: what its speed rests on, and what a change of a library or of an import could undo unseen. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { importsOf } from './support/imports.ts'

const folder = join(import.meta.dirname, '../bundle/fetch')

/** The files that load with one of them, itself included. */
function loadedWith(file: string): string[] {
  const reached = new Set([file])
  for (const one of reached) {
    for (const { specifier, kind } of importsOf(readFileSync(join(folder, one), 'utf8'))) {
      if (kind === 'static' && specifier?.startsWith('./') === true) reached.add(specifier.slice(2))
    }
  }
  return [...reached]
}

/** The bundled form of a module that is loaded with import(). */
function chunkOf(module: string): string {
  const found = readdirSync(folder).filter((file) => new RegExp(`^${module}-[A-Z0-9]{8}\\.js$`).test(file))
  assert.equal(found.length, 1, `${module}: ${found.join(', ')}`)
  return found[0] ?? ''
}

test('what fetch loads before it has looked is its main file and one more', () => {
  assert.equal(loadedWith('main.js').length, 2, loadedWith('main.js').join(', '))
})

test('what reads S3 without the SDK’s client loads nothing of it', () => {
  const files = loadedWith(chunkOf('s3-reader'))
  assert.ok(files.includes('s3-parts.js'))
  for (const file of files) assert.doesNotMatch(readFileSync(join(folder, file), 'utf8'), /@aws-sdk\/client-s3\//, file)
  const sdk = loadedWith(chunkOf('s3')).map((file) => readFileSync(join(folder, file), 'utf8'))
  assert.match(sdk.join(''), /@aws-sdk\/client-s3\//, 'where the SDK is, it would have been seen')
})

test('no module of a bundle imports node:http, which would load its WebSocket, too', () => {
  for (const name of ['cli', 'fetch']) {
    const bundle = join(folder, '..', name)
    for (const file of readdirSync(bundle).filter((one) => one.endsWith('.js'))) {
      const imports = importsOf(readFileSync(join(bundle, file), 'utf8'))
      assert.ok(!imports.some(({ specifier }) => specifier === 'node:http'), `${name}/${file}`)
    }
  }
})
