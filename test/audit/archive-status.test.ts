/** What an archive says of itself where no receiver answers, to programs and to people. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { type ArchiveStatus, archiveStatus } from '../../src/audit/archive-status.ts'
import { formatLsn } from '../../src/wal/lsn.ts'
import { formatTimestamp } from '../../src/wal/timestamp.ts'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { makeBackup, seconds } from '../restore/made-sentinel.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'

async function statusOf(archive: MadeArchive): Promise<ArchiveStatus> {
  return await archiveStatus(new Archive(archive.store), { signal: new AbortController().signal })
}

/** Segments 1 to 3, with a commit at 7 s in the third. */
async function made(): Promise<{ readonly archive: MadeArchive; readonly wal: MadeWal }> {
  const wal = new MadeWal().fillTo(3 * segmentBytes + 100_000, 'a').commit(9, seconds(7))
  wal.fillTo(6 * segmentBytes, 'b')
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of [1, 2, 3]) await archive.segment(wal, segno, nameOf(1, segno), 'none')
  return { archive, wal }
}

const early = { from: segmentBytes + 40, to: segmentBytes + 9000, finished: 4 }
const late = { from: 2 * segmentBytes + 40, to: 2 * segmentBytes + 9000, finished: 5 }

test('the newest moment is the last commit, from the newest backup that leads to it', async () => {
  const { archive } = await made()
  makeBackup(archive, early)
  const name = makeBackup(archive, late)
  const { restorable, backups, gaps, backlog, store } = await statusOf(archive)
  assert.ok(restorable !== null)
  assert.equal(formatTimestamp(restorable.time), '2000-01-01T00:00:07.000000Z')
  assert.equal(formatLsn(restorable.end), '0/400000')
  assert.deepEqual([restorable.isCommit, restorable.beforeGap, restorable.timeline], [true, false, 1])
  assert.equal(restorable.backup.name, name)
  assert.deepEqual([backups.usable, backups.others, backups.newest?.name], [2, 0, name])
  assert.deepEqual([gaps, backlog, store], [[], [], 'memory://test'])
})

test('without a commit behind it, the end of the backup is the newest moment', async () => {
  const wal = new MadeWal().fillTo(2 * segmentBytes, 'a')
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.segment(wal, 1, nameOf(1, 1), 'none')
  makeBackup(archive, early)
  const { restorable } = await statusOf(archive)
  assert.equal(restorable?.isCommit, false)
  assert.equal(formatTimestamp(restorable.time), '2000-01-01T00:00:04.000000Z')
})

test('WAL without a backup, or with one that lacks its WAL, can be restored to no moment', async () => {
  const { archive } = await made()
  assert.deepEqual((await statusOf(archive)).restorable, null)
  makeBackup(archive, { from: 5 * segmentBytes + 40, to: 5 * segmentBytes + 9000, finished: 8 })
  const { restorable, backups } = await statusOf(archive)
  assert.equal(restorable, null)
  assert.deepEqual(backups, { usable: 0, others: 1, newest: null })
})

test('a gap ends what can be restored, until a backup lies behind it', async () => {
  const { archive, wal } = await made()
  makeBackup(archive, early)
  await archive.segment(wal, 5, nameOf(1, 5), 'none')
  const before = await statusOf(archive)
  assert.deepEqual([before.restorable?.beforeGap, before.gaps.length], [true, 1])
  assert.equal(formatLsn(before.restorable?.end ?? assert.fail()), '0/400000')
  const name = makeBackup(archive, { from: 5 * segmentBytes + 40, to: 5 * segmentBytes + 9000, finished: 8 })
  const after = await statusOf(archive)
  assert.deepEqual([after.restorable?.beforeGap, after.restorable?.backup.name], [false, name])
  assert.equal(after.windows.length, 2)
})

test('a backup that cannot be read is counted among those that do not help', async () => {
  const { archive } = await made()
  makeBackup(archive, late)
  const name = makeBackup(archive, early)
  archive.store.set(`basebackups_005/${name}_backup_stop_sentinel.json`, Buffer.from('{'))
  const { backups } = await statusOf(archive)
  assert.deepEqual([backups.usable, backups.others], [1, 1])
})

test('what a receiver has noted that it still holds is told; its note is read before the WAL', async () => {
  const { archive } = await made()
  archive.backlog('walferry')
  // A receiver deletes its note when all is there: whoever looked for WAL first could find neither.
  const read: string[] = []
  archive.store.before = (_operation, key) => void read.push(key)
  const { backlog } = await statusOf(archive)
  assert.deepEqual(
    backlog.map(({ slot, note }) => [slot, note.host, formatLsn(note.lsn)]),
    [['walferry', 'h1', '0/A000000']],
  )
  const walAt = read.findIndex((key) => key.startsWith('wal_005/'))
  assert.ok(read.indexOf('walferry_001/backlog/walferry.json') < walAt, read.join(' '))
})
