/** What a hole is answered with: how it is looked for, how long it is waited for, and when it may be the end. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DataFolder } from './data-folder.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

/** Timeline 1 from segment 1 on, up to the middle of segment 4. */
const wal = new MadeWal().fillTo(4 * segmentBytes + 500_000, 'a')

/** Segments 1 and 3 whole. */
async function archiveWithHole(): Promise<MadeArchive> {
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.segment(wal, 1)
  await archive.segment(wal, 3)
  return archive
}

test('a segment that lands while we look is served, not called a hole', async (t) => {
  const archive = await archiveWithHole()
  const { store } = archive
  const second = await archive.segment(wal, 2)
  const objects = [second, `wal_005/${nameOf(1, 3)}.lz4`].map((key) => ({ key, bytes: store.peek(key) }))
  for (const { key } of objects) store.delete(key)
  // Both appear between the first look at segment 2 and the look for later ones, in the order in which they are put.
  store.before = (operation, prefix) => {
    if (operation !== 'list' || !prefix.startsWith('wal_005/00000001')) return
    for (const { key, bytes } of objects) store.set(key, bytes)
  }
  const data = await DataFolder.make(t, systemIdentifier)
  const { code, file } = await data.ask(store, nameOf(1, 2))
  assert.equal(code, 0)
  assert.ok(file?.equals(wal.segment(2)))
})

test('so is one whose last chunk lands then', async (t) => {
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.chunk(wal, 2, 0, 600_000)
  const { store } = archive
  const last = await archive.chunk(wal, 2, 600_000, segmentBytes)
  const bytes = store.peek(last)
  store.delete(last)
  const next = await archive.chunk(wal, 3, 0, 8192)
  const later = store.peek(next)
  store.delete(next)
  store.before = (operation, prefix) => {
    if (operation !== 'list' || !prefix.startsWith('wal_005/00000001')) return
    store.set(last, bytes)
    store.set(next, later)
  }
  const data = await DataFolder.make(t, systemIdentifier)
  const { code, file, said } = await data.ask(store, nameOf(1, 2))
  assert.equal(code, 0, said)
  assert.ok(file?.equals(wal.segment(2)))
})

test('a hole is waited for, as long as --retry-for says', async (t) => {
  const archive = await archiveWithHole()
  const data = await DataFolder.make(t, systemIdentifier)
  assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 200)
  const told: string[] = []
  const { code, file } = await data.ask(archive.store, nameOf(1, 2), {
    retryForMs: 30_000,
    onRetry: (error) => {
      told.push(error.code)
      if (told.length === 3) void archive.segment(wal, 2)
    },
  })
  assert.equal(code, 0)
  assert.ok(file?.equals(wal.segment(2)))
  assert.deepEqual([...new Set(told)], ['ARCHIVE_HOLE'])
})

describe("pg_wal's own copy of what the archive lacks", () => {
  const switched = new MadeWal()
    .fillTo(2 * segmentBytes + 400_000, 'a')
    .switch()
    .fillTo(3 * segmentBytes + 9000, 'a')
  const older = new MadeWal({ firstSegno: 1 }).fillTo(2 * segmentBytes, 'o').segment(1)
  const copies: readonly { readonly own: string; readonly bytes: Buffer; readonly code: number }[] = [
    { own: 'complete: its records run past its end', bytes: wal.segment(2), code: 1 },
    { own: 'complete: it ends in an XLOG_SWITCH', bytes: switched.segment(2), code: 1 },
    { own: 'cut', bytes: wal.segment(2).subarray(0, segmentBytes - 8192), code: 200 },
    { own: 'not filled', bytes: zerosFrom(wal.segment(2), 700_000), code: 200 },
    { own: 'not filled, in its last page', bytes: zerosFrom(wal.segment(2), segmentBytes - 4000), code: 200 },
    { own: 'a recycled file', bytes: older, code: 200 },
    { own: 'empty', bytes: Buffer.alloc(0), code: 200 },
  ]
  for (const { own, bytes, code } of copies) {
    test(`${own}: ${code}`, async (t) => {
      const archive = await archiveWithHole()
      const data = await DataFolder.make(t, systemIdentifier)
      await data.keep(nameOf(1, 2), bytes)
      const asked = await data.ask(archive.store, nameOf(1, 2))
      assert.equal(asked.code, code, asked.said)
      const waits = { retryForMs: 30_000, onRetry: () => assert.notEqual(code, 1, 'what is there is not waited for') }
      if (code === 1) assert.equal((await data.ask(archive.store, nameOf(1, 2), waits)).code, 1)
    })
  }

  test('is no answer where it differs from the tail that the archive has', async (t) => {
    const archive = await archiveWithHole()
    await archive.chunk(wal, 2, 0, 200_000)
    const data = await DataFolder.make(t, systemIdentifier)
    await data.keep(nameOf(1, 2), new MadeWal().fillTo(4 * segmentBytes, 'b').segment(2))
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 200)
    await data.keep(nameOf(1, 2), wal.segment(2))
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 1)
  })
})

describe('with --end-at-hole', () => {
  test('a hole is the end, and its tail is served', async (t) => {
    const archive = await archiveWithHole()
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 2), { endAtHole: true })).code, 1)
    await archive.chunk(wal, 2, 0, 200_000)
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 200)
    const { code, file } = await data.ask(archive.store, nameOf(1, 2), { endAtHole: true })
    assert.equal(code, 0)
    assert.ok(file?.equals(zerosFrom(wal.segment(2), 200_000)))
  })

  test('it is never waited for', async (t) => {
    const archive = await archiveWithHole()
    const data = await DataFolder.make(t, systemIdentifier)
    const options = { endAtHole: true, retryForMs: 30_000, onRetry: () => assert.fail('there is nothing to wait for') }
    assert.equal((await data.ask(archive.store, nameOf(1, 2), options)).code, 1)
  })

  test('damage and conflicts stop the server all the same', async (t) => {
    const archive = await archiveWithHole()
    const data = await DataFolder.make(t, systemIdentifier)
    await archive.chunk(wal, 2, 0, 200_000)
    await data.keep(nameOf(1, 2), new MadeWal().fillTo(4 * segmentBytes, 'b').segment(2))
    assert.equal((await data.ask(archive.store, nameOf(1, 2), { endAtHole: true })).code, 202)
    archive.store.set(`wal_005/${nameOf(1, 3)}.lz4`, Buffer.from('x'))
    assert.equal((await data.ask(archive.store, nameOf(1, 3), { endAtHole: true })).code, 201)
  })
})

describe('with --no-tail', () => {
  test('a tail is left out, and a tail of the full size is a whole segment', async (t) => {
    const archive = new MadeArchive()
    archive.identity(wal)
    await archive.chunk(wal, 2, 0, segmentBytes)
    await archive.chunk(wal, 3, 0, 200_000)
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 3))).code, 0)
    assert.equal((await data.ask(archive.store, nameOf(1, 3), { tails: false })).code, 1)
    assert.equal((await data.ask(archive.store, nameOf(1, 2), { tails: false })).code, 0)
  })

  test('a hole before later WAL is one, be that a tail', async (t) => {
    const archive = new MadeArchive()
    archive.identity(wal)
    await archive.segment(wal, 1)
    await archive.chunk(wal, 3, 0, 200_000)
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 2), { tails: false })).code, 200)
  })
})

function zerosFrom(segment: Buffer, at: number): Buffer {
  return segment.fill(0, at)
}
