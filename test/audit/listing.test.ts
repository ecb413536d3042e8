/** What `walferry list` says of an archive. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { type ListedWindow, listArchive } from '../../src/audit/listing.ts'
import { humanBytes, tellJson, tellLines, tellTables } from '../../src/audit/tell-listing.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { makeBackup, seconds } from '../restore/made-sentinel.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'

const options = { signal: new AbortController().signal }
const fixtures = join(import.meta.dirname, '../../../test/fixtures')

function archiveAt(folder: string): Archive {
  return new Archive(new DirectoryStore(join(fixtures, folder)))
}

test("an archive of WAL-G's: the window up to the segment that is missing, and the gap", async () => {
  const lines = tellLines(await listArchive(archiveAt('walg'), options))
  const backup = 'base_000000010000000000000002\t2026-11-20T10:42:23Z\t2026-11-20T10:42:23Z\t23580160\t1241923\t1'
  assert.deepEqual(lines.split('\n'), [
    `backup\t${backup}\t0/2000028\t0/2000100\tno\tyes\t-`,
    'window\t2\t2026-11-20T10:42:23Z\t0/2000100\t2026-11-20T10:42:23.622205Z\t0/5000000\tbase_000000010000000000000002',
    'gap\t2\t0/5000000\t0/6000000',
    '',
  ])
})

test('a timeline without a history file has windows, a delta leads nowhere', async () => {
  const listing = await listArchive(archiveAt('walg-local'), options)
  assert.deepEqual(
    listing.backups.map(({ standing }) => standing),
    ['usable', 'delta'],
  )
  assert.equal(listing.windows.length, 1)
})

/** With a commit at the end of the first base backup, and one behind it. */
function madeWal(): { readonly wal: MadeWal; readonly a: number } {
  const wal = new MadeWal().fillTo(segmentBytes + 100_000, 'a').commit(9, seconds(5.000001))
  const a = wal.end
  wal
    .fillTo(segmentBytes + 300_000, 'b')
    .commit(10, seconds(7.000001))
    .fillTo(6 * segmentBytes + 500_000, 'c')
  return { wal, a }
}

/** A window, a gap, a window whose WAL has no commit. */
async function made({ wal, a } = madeWal()): Promise<MadeArchive> {
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of [1, 2, 4, 5]) await archive.segment(wal, segno, nameOf(1, segno), 'none')
  await archive.chunk(wal, 6, 0, 300_000)
  makeBackup(archive, { from: segmentBytes + 40, to: a, finished: 6, label: 'before\tthe\nmove', isPermanent: true })
  makeBackup(archive, { from: 4 * segmentBytes + 40, to: 4 * segmentBytes + 9000, finished: 8 })
  return archive
}

interface Told {
  readonly store: string
  readonly backups: readonly Readonly<Record<string, unknown>>[]
  readonly windows: readonly unknown[]
  readonly gaps: readonly unknown[]
}

test('as JSON: every position as text, times as ISO 8601, nothing where there is no commit', async () => {
  const told: Told = JSON.parse(tellJson(await listArchive(new Archive((await made()).store), options)))
  const [first, second] = ['base_000000010000000000000001', 'base_000000010000000000000004']
  const { store, backups, windows, gaps } = told
  assert.equal(store, 'memory://test')
  assert.deepEqual(
    backups.map((one) => ['name', 'permanent', 'usable', 'label', 'startLsn'].map((field) => one[field])),
    [
      [first, true, true, 'before\tthe\nmove', '0/100028'],
      [second, false, true, null, '0/400028'],
    ],
  )
  assert.deepEqual(windows, [
    {
      timeline: 1,
      from: { time: '2000-01-01T00:00:06.000Z', lsn: '0/118740' },
      lastCommit: '2000-01-01T00:00:07.000001Z',
      coveredUntil: '0/300000',
      beforeGap: true,
      backups: [first],
    },
    {
      timeline: 1,
      from: { time: '2000-01-01T00:00:08.000Z', lsn: '0/402328' },
      lastCommit: null,
      coveredUntil: '0/6493E0',
      beforeGap: false,
      backups: [second],
    },
  ])
  assert.deepEqual(gaps, [{ timeline: 1, from: '0/300000', to: '0/400000' }])
})

test('listed again and again: a window that grows costs its last segment, one that stays is looked through once', async () => {
  const scene = madeWal()
  const archive = await made(scene)
  const read = new Set<number>()
  archive.store.before = (operation, key) => {
    const [, segno] = /00000001-?00000000-?([0-9A-F]{8})/i.exec(key.startsWith('basebackups') ? '' : key) ?? []
    if (operation === 'get' && segno !== undefined) read.add(Number.parseInt(segno, 16))
  }
  let windows: readonly ListedWindow[] = []
  const list = async (): Promise<{ commits: boolean[]; read: number[] }> => {
    read.clear()
    windows = (await listArchive(new Archive(archive.store), options, windows)).windows
    return { commits: windows.map(({ lastCommit }) => lastCommit !== null), read: [...read].toSorted((x, y) => x - y) }
  }
  const commits = [true, false]
  assert.deepEqual(await list(), { commits, read: [1, 2, 6] }, 'the one before the gap whole, nothing of 4 and 5')
  await archive.chunk(scene.wal, 6, 300_000, 400_000)
  assert.deepEqual(await list(), { commits, read: [6] })
  assert.deepEqual(await list(), { commits, read: [4, 5, 6] })
  assert.deepEqual(await list(), { commits, read: [] })
})

test('as tables: columns under their names, and no line of a label’s own', async () => {
  const text = tellTables(await listArchive(new Archive((await made()).store), options))
  const lines = text.split('\n')
  assert.match(lines[2] ?? '', /^ {2}base_000000010000000000000001 {2}.* {2}yes {8}yes {5}before the move$/)
  assert.ok(
    lines.some((line) => / {2}none +0\/6493E0 +base_000000010000000000000004$/.test(line)),
    text,
  )
  assert.ok(text.includes('WAL that is missing'))
  // oxlint-disable-next-line no-control-regex -- that is what must not be there
  assert.doesNotMatch(text, /[\u0000-\u0009]/)
})

test('an archive without backups has no windows, and says why', async () => {
  const archive = new MadeArchive()
  archive.identity(new MadeWal())
  const text = tellTables(await listArchive(new Archive(archive.store), options))
  assert.match(
    text,
    /Base backups in memory:\/\/test\n {2}none\n\nRecovery windows\n {2}none: there is no base backup\n/,
  )
  await assert.rejects(listArchive(new Archive(new MadeArchive().store), options), { code: 'ARCHIVE_FOREIGN' })
})

test('sizes are told in the unit that fits', () => {
  const sizes = [0, 1023, 1024, 23_580_160, 2 ** 40]
  assert.deepEqual(sizes.map(humanBytes), ['0 B', '1023 B', '1.0 KiB', '22.5 MiB', '1.0 TiB'])
})

test('a backup that cannot be read is told beside the others', async () => {
  const archive = await made()
  const name = 'base_000000010000000000000004'
  const other = 'base_000000010000000000000001'
  archive.store.set(`basebackups_005/${other}/metadata.json`, Buffer.from('{'))
  assert.deepEqual(
    (await listArchive(new Archive(archive.store), options)).damaged.map((one) => one.name),
    [other],
  )
  makeBackup(archive, { from: segmentBytes + 40, to: segmentBytes + 9000, finished: 6 })
  archive.store.set(`basebackups_005/${name}_backup_stop_sentinel.json`, Buffer.from(''))
  const listing = await listArchive(new Archive(archive.store), options)
  assert.equal(listing.backups.length, 1)
  assert.match(tellLines(listing), new RegExp(`^damaged\t${name}\t.*is no JSON`, 'm'))
  assert.match(tellTables(listing), new RegExp(`cannot be read\n.*\n  ${name}`))
  assert.match(tellJson(listing), new RegExp(`"damaged": \\[\\s*{\\s*"name": "${name}"`))
})
