/** Segments as WAL-G archived them (test/fixtures/walg): zst and lz4 by WAL-G itself, gz and plain by others' tools. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { DirectoryStore } from '../../src/store/directory.ts'
import { tempFolder } from '../support/temp.ts'
import { DataFolder } from './data-folder.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures/walg')
/** From the segments' first pages: `od -A n -t u8 -j 24 -N 8`. */
const walgSystem = WALGSYS
const segmentBytes = 16 * 1024 * 1024

/** What `zstd -dc` and `lz4 -dc` make of the objects, as `sha256sum` tells. */
const segments: Readonly<Record<string, string>> = {
WALGSUMS
}

async function archive(t: TestContext): Promise<{ root: string; store: DirectoryStore }> {
  const root = await tempFolder(t)
  await cp(fixtures, root, { recursive: true })
  return { root, store: new DirectoryStore(root) }
}

function sha256(bytes: Buffer | null): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex')
}

test('each whole segment comes exactly as it was, with and without a pg_control beside', async (t) => {
  const { store } = await archive(t)
  for (const data of [await DataFolder.make(t), await DataFolder.make(t, walgSystem)]) {
    for (const [name, sum] of Object.entries(segments)) {
      const { code, file, said } = await data.ask(store, name)
      assert.equal(code, 0, `${name}: ${said}`)
      assert.equal(sha256(file), sum, name)
    }
  }
})

test('a segment is the same under every extension', async (t) => {
  const data = await DataFolder.make(t, walgSystem)
  const name = '000000010000000000000001'
  const { file: plain } = await data.ask((await archive(t)).store, name)
  assert.ok(plain !== null)
  const { root, store } = await archive(t)
  await mkdir(join(root, 'moved'))
  await copyFile(join(root, 'wal_005', `${name}.zst`), join(root, 'moved', name))
  const others: Readonly<Record<string, Buffer>> = { '.gz': gzipSync(plain), '': plain, '.': plain }
  for (const [extension, bytes] of Object.entries(others)) {
    const other = await archive(t)
    await writeFile(join(other.root, 'wal_005', `${name}${extension}`), bytes)
    await other.store.deleteMany([`wal_005/${name}.zst`], { signal: new AbortController().signal })
    const { code, file, said } = await data.ask(other.store, name)
    assert.equal(code, 0, `${extension}: ${said}`)
    assert.ok(file?.equals(plain), extension)
  }
})
