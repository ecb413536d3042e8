/** Segments as WAL-G archived them (test/fixtures/walg), without an identity: zst and lz4 by WAL-G, gz and plain by us. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { DirectoryStore } from '../../src/store/directory.ts'
import { flipped } from '../archive/streams.ts'
import { tempFolder } from '../support/temp.ts'
import { DataFolder } from './data-folder.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures/walg')
/** In the segments' first pages: `zstd -dc ... | od -A n -t u8 -j 24 -N 8`. */
const walgSystem = 7_710_202_200_355_448_818n

/** `zstd -dc ... | sha256sum`, `lz4 -dc ... | sha256sum` */
const segments: Readonly<Record<string, string>> = {
  '000000010000000000000001': '1ad5031b53167ca6a8a2036d1a7dc522d073575be0b59a873d506465ca9ab4d5',
  '000000010000000000000002': '6355f165ef158403f0780fceb7971b134951f1ca8d00fa1810973c43b8be860f',
  '000000010000000000000003': '23a61db889340ed99095a196657fa7ffd4c652a4f80a5d5093fa9511c0ff1f88',
  '000000010000000000000004': '822a391c292dee166c47e6c2c729383d150e3209bde234ac471af44a912d3677',
  '000000020000000000000006': '5e6504fcf1d9cddd42b1c31c819b122ad26d73b06645aecb36cf240752d6f188',
}

async function copyOfArchive(t: TestContext): Promise<string> {
  const root = await tempFolder(t)
  await cp(fixtures, root, { recursive: true })
  return root
}

test('each whole segment comes exactly as it was', async (t) => {
  const store = new DirectoryStore(fixtures)
  const data = await DataFolder.make(t, walgSystem)
  for (const [name, sum] of Object.entries(segments)) {
    const { code, file, said } = await data.ask(store, name)
    assert.equal(code, 0, `${name}: ${said}`)
    assert.equal(
      createHash('sha256')
        .update(file ?? '')
        .digest('hex'),
      sum,
      name,
    )
  }
})

test('a segment is the same under every extension', async (t) => {
  const data = await DataFolder.make(t)
  const root = await copyOfArchive(t)
  const name = '000000010000000000000001'
  const { file: plain } = await data.ask(new DirectoryStore(root), name)
  assert.ok(plain !== null)
  let last = '.zst'
  // WAL-G up to 3.0.8 left the dot where nothing was compressed.
  for (const [extension, bytes] of Object.entries({ '.gz': gzipSync(plain), '': plain, '.': plain })) {
    await rm(join(root, 'wal_005', name + last))
    await writeFile(join(root, 'wal_005', name + extension), bytes)
    last = extension
    const { code, file, said } = await data.ask(new DirectoryStore(root), name)
    assert.equal(code, 0, `"${extension}": ${said}`)
    assert.ok(file?.equals(plain), extension)
  }
})

test('the hole at segment 5 is one, and what lies beyond both ends is absent', async (t) => {
  const store = new DirectoryStore(fixtures)
  const data = await DataFolder.make(t, walgSystem)
  assert.equal((await data.ask(store, '000000010000000000000005')).code, 200)
  assert.equal((await data.ask(store, '000000020000000000000005')).code, 200)
  assert.equal((await data.ask(store, '000000010000000000000007')).code, 1)
  assert.equal((await data.ask(store, '000000020000000000000007')).code, 1)
  assert.equal((await data.ask(store, '00000003.history')).code, 1)
})

test('the .partial of the old timeline is never taken for the segment', async (t) => {
  const { code, said } = await (await DataFolder.make(t, walgSystem)).ask(
    new DirectoryStore(fixtures),
    '000000010000000000000006',
  )
  assert.equal(code, 1, said)
})

test('the history file comes as it was', async (t) => {
  const data = await DataFolder.make(t, walgSystem)
  const { file } = await data.ask(new DirectoryStore(fixtures), '00000002.history')
  assert.equal(file?.toString(), '1\t0/60001F8\tno recovery target specified\n')
})

test("the archive is another cluster's, also where only its first segment can say so", async (t) => {
  const store = new DirectoryStore(fixtures)
  const stranger = await DataFolder.make(t, walgSystem + 1n)
  for (const name of [...Object.keys(segments), '000000010000000000000005', '00000002.history', '00000003.history']) {
    const { code, said } = await stranger.ask(store, name)
    assert.ok(code >= 126, `${name}: ${code}, ${said}`)
  }
})

test('a flipped byte in what WAL-G compressed is told', async (t) => {
  const data = await DataFolder.make(t, walgSystem)
  for (const key of ['000000010000000000000003.zst', '000000020000000000000006.lz4']) {
    const root = await copyOfArchive(t)
    const path = join(root, 'wal_005', key)
    const bytes = await readFile(path)
    for (const at of [bytes.length >> 1, bytes.length - 1]) {
      await writeFile(path, flipped(bytes, at, 0x10))
      const { code, said } = await data.ask(new DirectoryStore(root), key.slice(0, 24))
      assert.equal(code, 201, `${key}, byte ${at}: ${said}`)
    }
  }
})
