/**
 * Base backups that WAL-G took: over the protocol (test/fixtures/walg) and from the data directory (walg-local). They
 * are of PostgreSQL 15: where that is installed, a server is started in what comes of them.
 */
import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { Archive } from '../../src/archive/archive.ts'
import { controlKey, metadataKey, partsFolder, sentinelKey } from '../../src/archive/backup-keys.ts'
import { readBackup } from '../../src/archive/backups.ts'
import type { Codec } from '../../src/archive/codec-name.ts'
import { encodeLz4 } from '../../src/archive/codecs/lz4-encode.ts'
import { findBinaries } from '../../src/cluster/binaries.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { isError } from '../../src/kit/errors.ts'
import { planRestore } from '../../src/restore/choose-restore.ts'
import { restoreFiles, type Restored } from '../../src/restore/restore-files.ts'
import type { RecoveryTarget } from '../../src/restore/restore-plan.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { collect, flipped, inPieces } from '../archive/streams.ts'
import { connect, deadline, discardCluster, rows } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { cleanupCommand, restoreCommand } from '../support/walferry.ts'
import { jobOf } from './made-backup.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures')
const matrixFolder = join(import.meta.dirname, '../../../test/matrix')
const remote = { archive: join(fixtures, 'walg'), name: 'base_000000010000000000000002', files: 969 }
const local = { archive: join(fixtures, 'walg-local'), name: 'base_000000020000000000000008', files: 973 }
const delta = 'base_00000002000000000000000A_D_000000020000000000000008'

type Settings = ReadonlyArray<readonly [string, string]>

async function restore(archive: string, name: string, data: string, settings: Settings = []): Promise<Restored> {
  const options = { signal: deadline() }
  const store = new DirectoryStore(archive)
  const backup = await readBackup(store, name, options)
  assert.ok(backup !== null)
  const commands = { restoreCommand: restoreCommand(['--store', archive]), recoveryEndCommand: cleanupCommand() }
  const job = jobOf(data)
  const plan = { backup, settings, notes: [] }
  return await restoreFiles(new Archive(store), plan, { ...job, settings: { ...job.settings, ...commands } }, options)
}

async function assertRestored(data: string, restored: Restored, files: number): Promise<void> {
  assert.equal(restored.checkedBy, 'archive')
  assert.equal(restored.files, files)
  assert.equal((await readFile(join(data, 'PG_VERSION'), 'utf8')).trim(), '15')
  assert.equal((await stat(join(data, 'global/pg_control'))).size, 8192)
  for (const empty of ['pg_wal', 'pg_notify', 'pg_tblspc']) {
    assert.ok((await stat(join(data, empty))).isDirectory(), empty)
  }
  // What lay in the server's folder was the manifest of another backup.
  assert.ok(!(await readdir(data)).includes('backup_manifest'))
}

test('a delta backup is refused, with the command of WAL-G that restores it', async (t) => {
  const data = join(await tempFolder(t), 'data')
  await assert.rejects(restore(local.archive, delta, data), (error: unknown) => {
    assert.ok(isError(error, 'BAD_INPUT'))
    assert.match(error.hint ?? '', new RegExp(`wal-g backup-fetch DIR ${delta}`))
    return true
  })
  await assert.rejects(stat(data))
})

test('pg_control is read under every extension, and a flipped bit of it is told under each', async (t) => {
  const random = seededRandom(t)
  const archive = await tempFolder(t)
  const zst = controlKey(remote.name, 'zst')
  await cp(remote.archive, archive, { recursive: true, filter: (path) => !path.includes('wal_005') })
  const store = new DirectoryStore(archive)
  const plain = await new Archive(store).readSmall(zst, 100_000, { signal: deadline() })
  await rm(join(archive, zst))
  // Without the large part, and what tells of it, nothing is missing before pg_control is read.
  await rm(join(archive, partsFolder(remote.name), 'part_001.tar.zst'))
  for (const key of [sentinelKey(remote.name), metadataKey(remote.name)]) {
    const text = await readFile(join(archive, key), 'utf8')
    await writeFile(join(archive, key), text.replace('1241923', '0'))
  }
  const forms: readonly (readonly [Codec, Buffer])[] = [
    ['none', plain],
    ['gz', gzipSync(plain)],
    ['br', brotliCompressSync(plain)],
    ['lz4', await collect(encodeLz4(inPieces(plain, 5000)))],
  ]
  for (const [codec, bytes] of forms) {
    const path = join(archive, controlKey(remote.name, codec))
    await writeFile(path, bytes)
    await assert.rejects(restore(archive, remote.name, join(archive, `${codec}-data`)), /holds no PG_VERSION/)
    // Of a tar file's zeros, nobody keeps account.
    const at = codec === 'none' ? 512 + random.below(200) : random.below(bytes.length)
    await writeFile(path, flipped(bytes, at, 0x10))
    const refused = restore(archive, remote.name, join(archive, `${codec}-flipped`))
    await assert.rejects(refused, (error) => isError(error, 'ARCHIVE_DAMAGED'), `${codec}, byte ${at}`)
    await rm(path)
  }
})

test('a part that is gone is missed before anything is written: there is no manifest to tell of it later', async (t) => {
  const top = await tempFolder(t)
  const archive = join(top, 'archive')
  await cp(remote.archive, archive, { recursive: true })
  await rm(join(archive, partsFolder(remote.name), 'part_001.tar.zst'))
  await assert.rejects(restore(archive, remote.name, join(top, 'data')), /holds 291 bytes.*1241923.*missing/)
  await assert.rejects(stat(join(top, 'data')))
})

test('a changed byte of a part is an error', async (t) => {
  const random = seededRandom(t)
  const top = await tempFolder(t)
  await cp(remote.archive, join(top, 'archive'), { recursive: true })
  const path = join(top, 'archive', partsFolder(remote.name), 'part_001.tar.zst')
  const bytes = await readFile(path)
  const at = random.below(bytes.length)
  await writeFile(path, flipped(bytes, at, 1 << random.below(8)))
  const refused = restore(join(top, 'archive'), remote.name, join(top, 'data'))
  await assert.rejects(refused, (error) => isError(error, 'ARCHIVE_DAMAGED'), `byte ${at}`)
  await assert.rejects(stat(join(top, 'data/global/pg_control')))
})

const binaries = await findBinaries({ major: 15, from: matrixFolder, signal: deadline() }).catch(() => null)
const without = 'PostgreSQL 15, from which WAL-G took them, is not installed: no server is started in the folder'

/** Starts a server in the folder, as it is, and asks it. Null where there is no PostgreSQL 15. */
async function ask(t: TestContext, dataFolder: string, sql: string): Promise<string[] | null> {
  if (binaries === null) {
    t.diagnostic(without)
    return null
  }
  const cluster = await Cluster.open({ binaries, folder: await serverFolder(t), dataFolder, tcp: true })
  t.after(() => discardCluster(cluster))
  await cluster.start(deadline())
  await cluster.waitForPromotion(deadline())
  const client = await connect(cluster)
  try {
    return (await rows(client, sql)).map((row) => row.join('|'))
  } finally {
    await client.end()
  }
}

/** As `walferry restore` chooses: the backup's name, and the settings. */
async function choose(archive: string, target: RecoveryTarget | null) {
  const request = {
    backup: null,
    target,
    inclusive: true,
    timeline: 'latest',
    action: 'promote',
    standby: false,
  } as const
  const { backup, settings } = await planRestore(new Archive(new DirectoryStore(archive)), request, {
    signal: deadline(),
  })
  return { name: backup.name, settings }
}

test('from the data directory: all files come back, and a server recovers to the rows at its end', async (t) => {
  const data = join(await tempFolder(t), 'data')
  // The newest backup is the delta, and the archive lacks the history file of the only timeline that it has.
  const { name, settings } = await choose(local.archive, null)
  assert.equal(name, local.name)
  const restored = await restore(local.archive, name, data, settings)
  await assertRestored(data, restored, local.files)
  const expected = (await readFile(join(local.archive, 'expected_counts.txt'), 'utf8')).trim().split('\n')
  assert.deepEqual((await ask(t, data, 'SELECT count(*), max(id) FROM marker')) ?? expected, expected)
})

test('over the protocol: all files come back, and a server recovers up to the hole', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const { name, settings } = await choose(remote.archive, { kind: 'lsn', lsn: parseLsn('0/5000000') })
  const restored = await restore(remote.archive, name, data, settings)
  await assertRestored(data, restored, remote.files)
  const expected = (await readFile(join(remote.archive, 'expected_marker.txt'), 'utf8')).split('\n').slice(0, 3)
  assert.deepEqual((await ask(t, data, 'TABLE marker ORDER BY 1')) ?? expected, expected)
})
