/** What a deletion shows first, in which order it goes, and what an interruption leaves. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { deleteBackup, planDeletion } from '../../src/audit/delete.ts'
import { markBackup } from '../../src/audit/mark.ts'
import { tellDeletion } from '../../src/audit/tell-deletion.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { makeBackup } from '../restore/made-sentinel.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'

const { signal } = new AbortController()
const options = { signal }
const wal = new MadeWal().fillTo(6 * segmentBytes + 1000, 'a')
const now = new Date('2026-11-21T09:00:00Z')

/** Segments 1 to 5 but those that are missing, and backups that begin in 1, 2 and 4, with files of the first. */
async function archiveWith(missing: readonly number[] = []) {
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of [1, 2, 3, 4, 5]) {
    if (!missing.includes(segno)) await archive.segment(wal, segno, nameOf(1, segno), 'none')
  }
  const names = [1, 2, 4].map((segno, at) => {
    const from = segno * segmentBytes + 40
    return makeBackup(archive, { from, to: from + 500_000, finished: at + 1 })
  })
  const [first = '', second = '', third = ''] = names
  for (const part of ['part_001.tar.lz4', 'part_002.tar.lz4', 'pg_control.tar.lz4']) {
    archive.store.set(`basebackups_005/${first}/tar_partitions/${part}`, Buffer.from(part))
  }
  for (const note of ['claim.json', 'backup_manifest.lz4']) {
    archive.store.set(`walferry_001/backups/00000001-00000000-00000001/${note}`)
  }
  return { archive: new Archive(archive.store), made: archive, store: archive.store, first, second, third }
}

const at = (segment: number, offset = 0): string => `0/${(segment * segmentBytes + offset).toString(16).toUpperCase()}`

test('the first backup of a window takes the time up to the next one with it', async () => {
  const { archive, first, second } = await archiveWith()
  const deletion = await planDeletion(archive, first, options)
  assert.deepEqual(deletion.needing, [])
  const told = tellDeletion(deletion)
  assert.match(told, /^base_000000010000000000000001: finished 2000-01-01T00:00:01.000Z, 2.9 KiB stored\.\n/)
  assert.ok(
    told.includes(`timeline 1 from ${at(1, 500_040)} to ${at(2, 500_040)}; the next one, ${second}, leads`),
    told,
  )
})

test('a later one takes nothing with it, the only one of a window all of it', async () => {
  const { archive, second } = await archiveWith()
  assert.match(tellDeletion(await planDeletion(archive, second, options)), /can be restored without it/)
  const cut = await archiveWith([3])
  const told = tellDeletion(await planDeletion(cut.archive, cut.third, options))
  assert.ok(told.includes(`from ${at(4, 500_040)} to ${at(6)}; no other backup leads there`), told)
})

test('one on a branch that was left takes the rest of the branch with it', async () => {
  const cut = await archiveWith([3])
  await cut.made.segment(wal.fork(2), 3, nameOf(2, 3), 'none')
  await cut.made.history(2, `1\t${at(3, 8192)}\treason\n`)
  const lost = tellDeletion(await planDeletion(cut.archive, cut.third, options))
  assert.ok(lost.includes(`timeline 1 from ${at(4, 500_040)} to ${at(6)}; no other backup leads there`), lost)
  // With a backup from before the fork, the branch can still be restored.
  const { archive, made, third } = await archiveWith()
  await made.segment(wal.fork(2), 3, nameOf(2, 3), 'none')
  await made.history(2, `1\t${at(3, 8192)}\treason\n`)
  assert.match(tellDeletion(await planDeletion(archive, third, options)), /can be restored without it/)
})

test('deltas that rest on it are named, also one that rests on one of those', async () => {
  const { archive, made, first } = await archiveWith()
  const delta = (segno: number, deltaFrom: string): string =>
    makeBackup(made, { from: segno * segmentBytes + 50, to: segno * segmentBytes + 90, finished: 9, deltaFrom })
  const one = delta(3, first)
  const two = delta(5, one)
  const deletion = await planDeletion(archive, first, options)
  assert.deepEqual(deletion.needing, [one, two])
  assert.ok(tellDeletion(deletion).includes(`${two} cannot be restored without it.`))
  await assert.rejects(planDeletion(archive, two, options), { code: 'BAD_INPUT' })
})

test('a permanent backup is refused, until it is permanent no longer', async () => {
  const { archive, store, first } = await archiveWith()
  await markBackup(store, first, true, options)
  await assert.rejects(planDeletion(archive, first, options), { code: 'BACKUP_PERMANENT' })
  await markBackup(store, first, false, options)
  await planDeletion(archive, first, options)
})

test('a backup that was never there, or is being written, is not deleted', async () => {
  const { archive, store, first } = await archiveWith()
  await assert.rejects(planDeletion(archive, 'base_00000001000000000000000F', options), { code: 'BACKUP_MISSING' })
  store.delete(`basebackups_005/${first}_backup_stop_sentinel.json`)
  await assert.rejects(planDeletion(archive, first, options), { code: 'BACKUP_MISSING' })
})

test('nor is one that is being written where a deletion had been interrupted at its very end', async () => {
  const { archive, store, first } = await archiveWith()
  store.delete(`basebackups_005/${first}_backup_stop_sentinel.json`)
  const notes = 'walferry_001/backups/00000001-00000000-00000001'
  store.set(`${notes}/deleting.json`)
  store.setModified(`${notes}/claim.json`, new Date(Date.now() + 60_000))
  await assert.rejects(planDeletion(archive, first, options), { code: 'BACKUP_MISSING' })
  store.setModified(`${notes}/claim.json`, new Date(Date.now() - 60_000))
  assert.equal((await planDeletion(archive, first, options)).backup, null)
})

test('the sentinel goes first, and all that is the backup’s goes, but nothing else', async () => {
  const { store, first } = await archiveWith()
  const isOthers = (key: string): boolean => !key.includes(first) && !key.includes('00000001-00000000-00000001')
  const others = store.keys.filter(isOthers)
  const seen: string[] = []
  store.before = (operation, key) => {
    if (operation === 'deleteMany') seen.push(key)
  }
  await deleteBackup(store, first, now, options)
  assert.deepEqual(store.keys, others)
  assert.match(seen[0] ?? '', /sentinel\.json$/)
})

test('interrupted at any request, it is no backup any more or still a whole one, and the next call finishes it', async () => {
  for (let stopAt = 0, isDone = false; !isDone; stopAt++) {
    const { archive, store, first, second } = await archiveWith()
    const whole = store.keys.filter((key) => key.includes(first))
    let requests = 0
    store.before = () => {
      if (requests++ === stopAt) throw new WalferryError('STORE_UNREACHABLE', 'interrupted')
    }
    isDone = await deleteBackup(store, first, now, options).then(
      () => true,
      () => false,
    )
    store.before = () => undefined
    const isBackup = store.keys.includes(`basebackups_005/${first}_backup_stop_sentinel.json`)
    if (isBackup)
      assert.deepEqual(
        store.keys.filter((key) => key.includes(first)),
        whole,
        `request ${stopAt}`,
      )
    if (isDone) break
    if (store.keys.some((key) => key.includes('00000001-00000000-00000001'))) {
      assert.equal((await planDeletion(archive, first, options)).backup === null, !isBackup)
      await deleteBackup(store, first, now, options)
    }
    assert.deepEqual(
      store.keys.filter((key) => key.includes('00000000000000000001') && key.includes('base_')),
      [],
    )
    assert.ok(store.keys.includes(`basebackups_005/${second}_backup_stop_sentinel.json`))
  }
})

test('marking changes metadata.json alone, and in it one field', async () => {
  const { archive, store, first } = await archiveWith()
  const key = `basebackups_005/${first}/metadata.json`
  const text =
    '{"system_identifier":7710202200355448818,"start_lsn":18446744073709551615,"is_permanent":false,"x":[1.50]}'
  store.set(key, Buffer.from(text))
  const sentinel = store.peek(`basebackups_005/${first}_backup_stop_sentinel.json`)
  await markBackup(archive.store, first, true, options)
  assert.equal(Buffer.from(store.peek(key)).toString(), text.replace('false', 'true'))
  assert.equal(store.peek(`basebackups_005/${first}_backup_stop_sentinel.json`), sentinel)
  store.delete(key)
  await markBackup(archive.store, first, true, options)
  assert.match(Buffer.from(store.peek(key)).toString(), /"is_permanent":true/)
  await assert.rejects(markBackup(store, 'base_00000001000000000000000F', true, options), { code: 'BACKUP_MISSING' })
})
