/** What is answered while a receiver holds WAL that the archive has not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DataFolder } from './data-folder.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

const wal = new MadeWal().fillTo(3 * segmentBytes + 500_000, 'a')
const tailBytes = 300_000

/** Segment 1 whole, 2 as chunks of its full size, 3 as a tail. */
async function archiveWithBacklog(): Promise<{ archive: MadeArchive; note: string }> {
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.segment(wal, 1)
  await archive.chunk(wal, 2, 0, segmentBytes)
  await archive.chunk(wal, 3, 0, tailBytes)
  return { archive, note: archive.backlog('walferry') }
}

const ends = [nameOf(1, 3), nameOf(1, 4), '00000002.history']

test('what would end the recovery is refused, and the receiver is named', async (t) => {
  const { archive } = await archiveWithBacklog()
  const data = await DataFolder.make(t, systemIdentifier)
  for (const name of ends) {
    const { code, said } = await data.ask(archive.store, name)
    assert.equal(code, 204, said)
    assert.match(said, new RegExp(`^${name} .*receiver on h1 .*timeline 1 up to 0/A000000 at 2026-11-21T01:38:00.000Z`))
  }
})

test('whole segments are served as ever, also such as are chunks', async (t) => {
  const { archive } = await archiveWithBacklog()
  const data = await DataFolder.make(t, systemIdentifier)
  assert.equal((await data.ask(archive.store, nameOf(1, 1))).code, 0)
  assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 0)
})

test('a standby, and --ignore-backlog, are answered as without it', async (t) => {
  const { archive, note } = await archiveWithBacklog()
  archive.store.set(note, Buffer.from('not to be looked at'))
  const data = await DataFolder.make(t, systemIdentifier)
  for (const options of [{ standby: true }, { ignoreBacklog: true }]) {
    const codes = await Promise.all(
      ends.map(
        async (name) => (await (await DataFolder.make(t, systemIdentifier)).ask(archive.store, name, options)).code,
      ),
    )
    assert.deepEqual(codes, [0, 1, 1])
  }
  assert.equal((await data.ask(archive.store, ends[1] ?? '')).code, 201)
})

test('the note of any receiver counts, in an archive without WAL, too', async (t) => {
  const { archive, note } = await archiveWithBacklog()
  archive.store.delete(note)
  archive.backlog('another_slot')
  assert.equal((await (await DataFolder.make(t, systemIdentifier)).ask(archive.store, nameOf(1, 4))).code, 204)
  const empty = new MadeArchive()
  empty.identity(wal)
  empty.backlog('walferry')
  assert.equal((await (await DataFolder.make(t, systemIdentifier)).ask(empty.store, nameOf(1, 1))).code, 204)
})

test('it is waited for, and what the receiver shipped before it deleted its note is served', async (t) => {
  const { archive, note } = await archiveWithBacklog()
  const { store } = archive
  const key = await archive.chunk(wal, 3, tailBytes, wal.end % segmentBytes)
  const bytes = store.peek(key)
  store.delete(key)
  const data = await DataFolder.make(t, systemIdentifier)
  // It ships and deletes between our look at the tail and our look for later WAL: whoever read the notes only then would
  // find none, and serve the tail as it was.
  store.before = (operation, prefix) => {
    if (operation !== 'list' || !prefix.startsWith('wal_005/00000001')) return
    store.set(key, bytes)
    store.delete(note)
  }
  const { code, file, said } = await data.ask(store, nameOf(1, 3), { retryForMs: 30_000 })
  assert.equal(code, 0, said)
  assert.ok(file?.equals(wal.segment(3)))
})
