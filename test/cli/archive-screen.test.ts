/** What a person reads of an archive where no receiver answers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { archiveStatus } from '../../src/audit/archive-status.ts'
import { drawArchive } from '../../src/cli/archive-screen.ts'
import { plainCanvas } from '../../src/cli/paint.ts'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { makeBackup, seconds } from '../restore/made-sentinel.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'

const why = 'no receiver answers on http://127.0.0.1:9868 (ECONNREFUSED)'
const now = new Date('2000-01-01T00:03:12Z')

async function draw(archive: MadeArchive, columns = Infinity): Promise<string[]> {
  const status = await archiveStatus(new Archive(archive.store), { signal: new AbortController().signal })
  return drawArchive(why, { ...status, at: now }, now, { ...plainCanvas, columns })
}

async function made(...segnos: readonly number[]): Promise<MadeArchive> {
  const wal = new MadeWal().fillTo(2 * segmentBytes + 100_000, 'a').commit(9, seconds(7.25))
  wal.fillTo(6 * segmentBytes, 'b')
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of segnos) await archive.segment(wal, segno, nameOf(1, segno), 'none')
  return archive
}

const first = { from: segmentBytes + 40, to: segmentBytes + 9000, finished: 4 }

test('all is said, and that it is the archive which says it', async () => {
  const archive = await made(1, 2)
  makeBackup(archive, first)
  assert.deepEqual(await draw(archive), [
    `Receiver        ${why}: this is what the archive says`,
    '                memory://test, 0 s ago',
    '',
    'Loss now        you would lose up to 3 min 5 s: all commits since',
    'Getting worse?  not known: only a receiver sees the server',
    'Where it hangs  no receiver is in sight',
    '                hint: does walferry receive run? Give its --listen HOST:PORT here if it runs elsewhere.',
    'Restorable to   2000-01-01T00:00:07.250000Z, 3 min 5 s ago',
    '                the last commit; WAL of timeline 1 up to 0/300000',
    '                from base_000000010000000000000001, 3 min 8 s old',
    '',
    'Backlog         no receiver has noted that it holds more WAL',
    'Backups         1 can be restored; newest 2000-01-01T00:00:04Z, 3 min 8 s ago',
    '                base_000000010000000000000001',
    'Windows         timeline 1: 2000-01-01T00:00:04Z to 2000-01-01T00:00:07Z, 1 backup',
    'Gaps            none',
  ])
  for (const line of await draw(archive, 60)) assert.ok(line.length <= 60, line)
})

test('a backlog, a gap and a backup that does not help are told, with what to do', async () => {
  const archive = await made(1, 2, 4)
  makeBackup(archive, first)
  makeBackup(archive, { from: 3 * segmentBytes + 40, to: 3 * segmentBytes + 9000, finished: 8 })
  archive.backlog('night')
  const text = (await draw(archive)).join('\n')
  for (const part of [
    'Where it hangs  a receiver holds WAL that it has not shipped (Backlog)',
    'newer WAL lies behind a gap: to get there takes a backup from behind it',
    'slot night on h1: timeline 1 up to 0/A000000, ',
    'hint: start that receiver: it ships what its spool holds',
    'Backups         1 can be restored, 1 cannot; newest 2000-01-01T00:00:04Z',
    'Gaps            1 gap: WAL is missing\n                timeline 1, 0/300000 to 0/400000',
  ]) {
    assert.ok(text.includes(part), `${part}\n\n${text}`)
  }
})

test('WAL without a backup: it says that WAL alone restores nothing', async () => {
  const text = (await draw(await made(1, 2))).join('\n')
  for (const part of [
    'Loss now        you would lose all: no backup can be restored',
    'Restorable to   none: there is no base backup, and WAL alone restores nothing\n                hint: walferry backup',
    'Backups         none that can be restored\n',
    'Windows         none\n',
  ]) {
    assert.ok(text.includes(part), `${part}\n\n${text}`)
  }
})
