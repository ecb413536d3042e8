/** A base backup that no server took: as small as one can be, and changed in whatever way a test wants. */
import { createHash } from 'node:crypto'
import { Archive } from '../../src/archive/archive.ts'
import { claimKey, controlKey, manifestKey, metadataKey, partKey, sentinelKey } from '../../src/archive/backup-keys.ts'
import { type Backup, readBackup } from '../../src/archive/backups.ts'
import { formatMetadata, formatSentinel, type Sentinel } from '../../src/archive/sentinel.ts'
import { restoreFiles, type Restored, type RestoreJob } from '../../src/restore/restore-files.ts'
import { crc32c } from '../../src/wal/crc32c.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { packTar, type TarMember } from './made-tar.ts'

export const madeSegment = '000000010000000000000002'
export const madeName = `base_${madeSegment}`
const systemIdentifier = 7_710_202_200_355_448_818n

export interface MadeBackup {
  /** Each a tar file. Default: one with all that a backup needs. */
  readonly parts?: readonly (readonly TarMember[])[]
  readonly control?: readonly TarMember[]
  /** The members that the manifest lists; null: there is none. Default: none. */
  readonly listed?: readonly TarMember[] | null
  readonly sentinel?: Partial<Sentinel>
}

export function file(name: string, text: string | Buffer = `the content of ${name}`, mode = 0o600): TarMember {
  return { header: { name, mode }, content: Buffer.from(text) }
}

export function folder(name: string, mode = 0o700): TarMember {
  return { header: { name, mode, type: 'directory' }, content: Buffer.alloc(0) }
}

/** As the server writes it: the identifier, the fields up to their checksum, zeros. */
export function controlFile(identifier = systemIdentifier): TarMember {
  const content = Buffer.alloc(8192)
  content.writeBigUInt64LE(identifier)
  content.writeUInt32LE(crc32c(0, content, 0, 288), 288)
  return file('global/pg_control', content)
}

export const needed: readonly TarMember[] = [
  file('backup_label', 'START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n'),
  file('PG_VERSION', '15\n'),
  folder('pg_wal/'),
  folder('pg_tblspc/'),
  file('postgresql.conf', 'port = 5433\n'),
]

export async function makeBackup(made: MadeBackup = {}): Promise<MemoryStore> {
  const { parts = [needed], control = [controlFile()], listed = null, sentinel = {} } = made
  const store = new MemoryStore()
  for (const [n, members] of parts.entries()) store.set(partKey(madeName, n + 1, 'none'), await packTar(members))
  store.set(controlKey(madeName, 'none'), await packTar(control))
  if (listed !== null) {
    store.set(claimKey(madeSegment), Buffer.from('{}'))
    store.set(manifestKey(madeSegment, 'none'), makeManifest(listed))
  }
  const content: Sentinel = {
    startLsn: parseLsn('0/2000028'),
    finishLsn: parseLsn('0/2000100'),
    stopTimeline: null,
    serverVersion: 150_018,
    systemIdentifier,
    plainBytes: 0,
    storedBytes: 0,
    startTime: new Date(0),
    finishTime: new Date(0),
    host: 'db.example',
    dataFolder: '/var/lib/postgresql/15/main',
    isPermanent: false,
    label: null,
    tablespaces: [],
    deltaFrom: null,
    ...sentinel,
  }
  store.set(metadataKey(madeName), Buffer.from(formatMetadata(content)))
  store.set(sentinelKey(madeName), Buffer.from(formatSentinel(content)))
  return store
}

/** As a server of PostgreSQL 15 writes it, with SHA-256. */
export function makeManifest(members: readonly TarMember[], startLsn = '0/2000028'): Buffer {
  const entries = members.map(({ header: { name }, content }) => {
    const sum = createHash('sha256').update(content).digest('hex')
    return `{ "Path": "${name}", "Size": ${content.length}, "Last-Modified": "2026-11-20 10:42:23 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "${sum}" }`
  })
  const range = `{ "Timeline": 1, "Start-LSN": "${startLsn}", "End-LSN": "0/2000100" }`
  const lines = `{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n${entries.join(',\n')}\n],\n"WAL-Ranges": [\n${range}\n],\n`
  const sum = createHash('sha256').update(lines).digest('hex')
  return Buffer.from(`${lines}"Manifest-Checksum": "${sum}"}\n`)
}

export function jobOf(folder: string, change: Partial<RestoreJob> = {}): RestoreJob {
  return {
    folder,
    force: false,
    tablespaceMapping: new Map(),
    standby: false,
    settings: {
      restoreCommand: 'walferry-fetch %f %p',
      recoveryEndCommand: 'walferry-fetch --cleanup',
      primaryConninfo: null,
      keepArchiving: false,
      keepSettings: false,
    },
    downloadConcurrency: 4,
    onProgress: () => undefined,
    ...change,
  }
}

export async function restoreMade(store: MemoryStore, job: RestoreJob, signal = deadline()): Promise<Restored> {
  const archive = new Archive(store)
  const backup: Backup | null = await readBackup(store, madeName, { signal })
  if (backup === null) throw new Error('the made backup is not there')
  const settings = [['recovery_target_timeline', '1']] as const
  return await restoreFiles(archive, { backup, settings, notes: [] }, job, { signal })
}
