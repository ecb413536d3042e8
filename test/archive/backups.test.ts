import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import {
  backupName,
  claimKey,
  controlKey,
  manifestKey,
  metadataKey,
  parseBackupName,
  parseClaimKey,
  parsePartKey,
  parseSentinelKey,
  partKey,
  sentinelKey,
} from '../../src/archive/backup-keys.ts'
import { listBackups, newestBackup, readBackup } from '../../src/archive/backups.ts'
import { segmentKey } from '../../src/archive/keys.ts'
import { claimArchive } from '../../src/archive/owner.ts'
import { formatSentinel, type Sentinel } from '../../src/archive/sentinel.ts'
import { asLsn, lsnZero } from '../../src/wal/lsn.ts'
import { MemoryStore } from '../support/memory-store.ts'

const { signal } = new AbortController()

const sentinel: Sentinel = {
  startLsn: asLsn(0x2000028n),
  finishLsn: asLsn(0x2000100n),
  stopTimeline: null,
  serverVersion: 180004,
  systemIdentifier: 7710202200355448819n,
  plainBytes: 2,
  storedBytes: 1,
  startTime: new Date(0),
  finishTime: new Date(1),
  host: 'db1',
  dataFolder: '/data',
  isPermanent: false,
  label: null,
  tablespaces: [],
  deltaFrom: null,
}

async function put(store: MemoryStore, key: string, text = ''): Promise<void> {
  await store.put(key, Buffer.from(text), { ifAbsent: false, signal })
}

test('the keys of a backup are those of WAL-G, and no key of ours holds a row of 24 upper-case digits', () => {
  const segment = '00000001000000000000000A'
  const name = backupName(segment)
  assert.equal(sentinelKey(name), 'basebackups_005/base_00000001000000000000000A_backup_stop_sentinel.json')
  assert.equal(metadataKey(name), 'basebackups_005/base_00000001000000000000000A/metadata.json')
  assert.equal(partKey(name, 7, 'lz4'), 'basebackups_005/base_00000001000000000000000A/tar_partitions/part_007.tar.lz4')
  assert.equal(
    controlKey(name, 'zst'),
    'basebackups_005/base_00000001000000000000000A/tar_partitions/pg_control.tar.zst',
  )
  assert.equal(claimKey(segment), 'walferry_001/backups/00000001-00000000-0000000a/claim.json')
  assert.equal(manifestKey(segment, 'none'), 'walferry_001/backups/00000001-00000000-0000000a/backup_manifest')
  assert.equal(parseClaimKey(claimKey(segment)), segment)
  assert.equal(parseSentinelKey(sentinelKey(name)), name)
  assert.deepEqual(parsePartKey(partKey(name, 1000, 'none')), { isControl: false, codec: 'none' })
  assert.deepEqual(parsePartKey(controlKey(name, 'zst')), { isControl: true, codec: 'zst' })
})

test('what is no name of a backup is none', () => {
  const delta = 'base_00000002000000000000000A_D_000000020000000000000008'
  assert.deepEqual(parseBackupName(delta), { name: delta, segment: '00000002000000000000000A', isDelta: true })
  for (const name of ['', 'base_', 'base_00000002000000000000000a', `${delta}/x`, '../base_00000002000000000000000A']) {
    assert.equal(parseBackupName(name), null)
  }
  assert.equal(parseSentinelKey('basebackups_005/base_1_backup_stop_sentinel.json'), null)
  assert.equal(parsePartKey('basebackups_005/base_1/metadata.json'), null)
})

test('backups are listed by their sentinels; one without is none, and parts cost no time', async () => {
  const store = new MemoryStore()
  const names = ['000000010000000000000002', '000000010000000000000005', '000000020000000000000003'].map(backupName)
  for (const name of names) {
    for (let part = 1; part <= 30; part++) await put(store, partKey(name, part, 'lz4'))
    await put(store, metadataKey(name))
  }
  for (const name of [names[0] ?? '', names[2] ?? '']) await put(store, sentinelKey(name), formatSentinel(sentinel))
  const { backups: found } = await listBackups(store, { signal })
  assert.deepEqual(
    found.map(({ name, segment, timeline }) => ({ name, segment, timeline })),
    [
      { name: names[0], segment: '000000010000000000000002', timeline: 1 },
      { name: names[2], segment: '000000020000000000000003', timeline: 2 },
    ],
  )
  assert.equal(await readBackup(store, names[1] ?? '', { signal }), null)
  assert.deepEqual(await readBackup(store, names[0] ?? '', { signal }), found[0])
})

test('a sentinel that cannot be read is told, and not passed over', async () => {
  const store = new MemoryStore()
  const name = backupName('000000010000000000000002')
  await put(store, sentinelKey(name), '{}')
  const { backups, damaged } = await listBackups(store, { signal })
  assert.deepEqual(backups, [])
  assert.deepEqual(
    damaged.map((one) => [one.name, one.error.code]),
    [[name, 'ARCHIVE_DAMAGED']],
  )
  await assert.rejects(readBackup(store, name, { signal }), { code: 'ARCHIVE_DAMAGED' })
})

function nameOf(segno: number): string {
  return `0000000100000000${segno.toString(16).toUpperCase().padStart(8, '0')}`
}

test('the newest backup has a place if no WAL is missing behind its start, which is looked at once', async () => {
  const store = new MemoryStore()
  const archive = new Archive(store)
  const mine = { systemIdentifier: String(sentinel.systemIdentifier), segmentBytes: 0x100_0000 }
  await claimArchive(archive, mine, { signal, now: new Date(0) })
  const name = backupName(nameOf(2))
  await put(store, sentinelKey(name), formatSentinel(sentinel))
  // More than a start looks at, with a hole at the beginning.
  for (let n = 2; n < 200; n++) if (n !== 3) await put(store, segmentKey(nameOf(n), 'none'))
  const look = { known: null, shipped: lsnZero, signal }
  const lacking = await newestBackup(archive, look)
  assert.deepEqual([lacking?.name, lacking?.place], [name, null])
  await put(store, segmentKey(nameOf(3), 'none'))
  const found = await newestBackup(archive, { ...look, known: lacking })
  assert.equal(found?.place?.startLsn, sentinel.startLsn)
  const before = { ...store.calls }
  assert.deepEqual(await newestBackup(archive, { ...look, known: found }), found)
  assert.deepEqual(store.calls, { ...before, list: before.list + 1 }, 'the sentinels are listed, and no more')
})
