/**
 * A base backup of a running server without any program for it: its data folder is copied between the two functions
 * that PostgreSQL has for that, and the archive gets the sentinel of it. What a restore would unpack lies in `copy`.
 */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { backupName, metadataKey, sentinelKey } from '../../src/archive/backup-keys.ts'
import { formatMetadata, formatSentinel, type Sentinel } from '../../src/archive/sentinel.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { systemIdentifierBeside } from '../../src/restore/beside.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { connect, deadline, rows, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

export interface HotCopy {
  readonly name: string
  readonly sentinel: Sentinel
  /** Not started, and not to be: to be copied from, for each recovery. */
  readonly copy: Cluster
}

const leftOut = new Set(['pg_wal', 'pg_replslot', 'postmaster.pid', 'postmaster.opts'])

export async function hotCopy(
  t: TestContext,
  server: Cluster,
  store: ObjectStore,
  segmentBytes: number,
): Promise<HotCopy> {
  const isOld = server.binaries.major < 15
  const folder = await tempFolder(t)
  const dataFolder = join(folder, 'data')
  const client = await connect(server)
  const startTime = new Date()
  const begun = isOld ? "pg_start_backup('copy', true, false)" : "pg_backup_start('copy', true)"
  const startLsn = parseLsn(await value(client, `SELECT ${begun}`))
  await mkdir(dataFolder)
  for (const entry of await readdir(server.dataFolder)) {
    if (!leftOut.has(entry)) await cp(join(server.dataFolder, entry), join(dataFolder, entry), { recursive: true })
  }
  for (const empty of ['pg_wal/archive_status', 'pg_replslot'])
    await mkdir(join(dataFolder, empty), { recursive: true })
  const ended = isOld ? 'pg_stop_backup(false, false)' : 'pg_backup_stop(false)'
  const [[lsn, label] = []] = await rows(client, `SELECT lsn, labelfile FROM ${ended}`)
  const timeline = Number(
    await value(client, "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"),
  )
  await client.end()
  await writeFile(join(dataFolder, 'backup_label'), label ?? '')
  const sentinel: Sentinel = {
    startLsn,
    finishLsn: parseLsn(lsn ?? ''),
    stopTimeline: null,
    serverVersion: server.binaries.major * 10_000,
    systemIdentifier: await systemIdentifierBeside(join(server.dataFolder, 'pg_wal', 'any')),
    plainBytes: 2,
    storedBytes: 1,
    startTime,
    finishTime: new Date(),
    host: 'db.example',
    dataFolder: server.dataFolder,
    isPermanent: false,
    label: null,
    tablespaces: [],
    deltaFrom: null,
  }
  const name = backupName(segmentName({ timeline, segno: segnoOf(startLsn, segmentBytes) }, segmentBytes))
  const options = { signal: deadline(), ifAbsent: true }
  await store.put(metadataKey(name), Buffer.from(formatMetadata(sentinel)), options)
  await store.put(sentinelKey(name), Buffer.from(formatSentinel(sentinel)), options)
  const place = { binaries: server.binaries, folder, dataFolder, signal: deadline() }
  return { name, sentinel, copy: await Cluster.open(place) }
}
