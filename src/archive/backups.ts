/** The base backups of an archive: those that have a sentinel. */
import { isError, type WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo, ObjectStore } from '../store/object-store.ts'
import { highestLsn, type Lsn, lsnZero } from '../wal/lsn.ts'
import type { Archive } from './archive.ts'
import { backupFolder, parseBackupName, parseSentinelKey, sentinelKey } from './backup-keys.ts'
import { isWholeFrom } from './coverage.ts'
import { damaged } from './damaged.ts'
import { findOwner } from './owner.ts'
import { parseSentinel, type Sentinel } from './sentinel.ts'

export interface Backup extends Sentinel {
  /** `base_<24 HEX>`, or with `_D_<24 HEX>` behind it for a delta. */
  readonly name: string
  /** The segment in which it starts. */
  readonly segment: string
  /** The timeline on which it starts. */
  readonly timeline: number
  /** When the sentinel was written, by the store's clock: WAL-G's LATEST is the newest by this. */
  readonly modified: Date
}

const largestSentinelBytes = 1024 * 1024

/**
 * The names of all backups with what the store says of their sentinels, by timeline and position. The other objects of a
 * backup, however many parts it has, cost one request.
 */
export async function* listSentinels(
  store: ObjectStore,
  { signal }: CallOptions,
): AsyncGenerator<{ readonly name: string; readonly info: ObjectInfo }, void> {
  for (let after = ''; ; ) {
    let folder: string | null = null
    for await (const info of store.list({ prefix: backupFolder, signal, ...(after === '' ? {} : { after }) })) {
      const slash = info.key.indexOf('/', backupFolder.length)
      if (slash !== -1) {
        folder = info.key.slice(0, slash + 1)
        break
      }
      const name = parseSentinelKey(info.key)
      if (name !== null) yield { name, info }
    }
    if (folder === null) return
    after = `${folder}~` // sorts behind every character that a key may have
  }
}

/** A backup whose sentinel cannot be read. */
export interface DamagedBackup {
  readonly name: string
  readonly error: WalferryError
}

/** All backups, by timeline and position. One that is damaged does not hide the others. */
export async function listBackups(
  store: ObjectStore,
  options: CallOptions,
): Promise<{ readonly backups: Backup[]; readonly damaged: DamagedBackup[] }> {
  const backups: Backup[] = []
  const damaged: DamagedBackup[] = []
  for await (const { name, info } of listSentinels(store, options)) {
    try {
      const backup = await readSentinel(store, name, info, options)
      if (backup !== null) backups.push(backup)
    } catch (error) {
      if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
      damaged.push({ name, error })
    }
  }
  return { backups, damaged }
}

/** Where a backup lies in the WAL. */
export type BackupPlace = Pick<Backup, 'timeline' | 'stopTimeline' | 'startLsn' | 'finishLsn' | 'deltaFrom'>

export interface NewestBackup {
  readonly name: string
  /** When it was completed, by the store's clock. */
  readonly completed: Date
  /** Null where it cannot be read, or where WAL was missing behind the start of its first segment when it was found. */
  readonly place: BackupPlace | null
}

export interface NewestBackupOptions extends CallOptions {
  /** What is known as the newest one, null for none: where its place is known, too, that is not looked at again. */
  readonly known: NewestBackup | null
  /** Up to here all WAL is durable in the store, as far as that can be known without it. */
  readonly shipped: Lsn
}

/**
 * The backup that was completed last, by the store's clock; null if there is none. Costs a listing of the sentinels, and
 * for one that was not known a listing of the WAL from its start on.
 */
export async function newestBackup(archive: Archive, options: NewestBackupOptions): Promise<NewestBackup | null> {
  const { store } = archive
  const { known } = options
  let newest: { readonly name: string; readonly info: ObjectInfo } | null = null
  for await (const one of listSentinels(store, options)) {
    if (newest === null || one.info.modified > newest.info.modified) newest = one
  }
  if (newest === null) return null
  const { name, info } = newest
  if (known?.name === name && known.place !== null) return { ...known, completed: info.modified }
  const backup = await readSentinel(store, name, info, options).catch((error: unknown) => {
    if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
    return null
  })
  const place = backup !== null && (await isFollowed(archive, backup, options)) ? backup : null
  return { name, completed: info.modified, place }
}

async function isFollowed(
  archive: Archive,
  { segment }: Backup,
  { shipped, signal }: NewestBackupOptions,
): Promise<boolean> {
  const owner = await findOwner(archive, { signal })
  if (owner === null) return false
  const upTo = shipped === lsnZero ? highestLsn : shipped
  return await isWholeFrom(archive, segment, { segmentBytes: owner.segmentBytes, upTo, signal })
}

/** Null if there is no backup of that name. Rejects ARCHIVE_DAMAGED for a sentinel that cannot be read. */
export async function readBackup(store: ObjectStore, name: string, options: CallOptions): Promise<Backup | null> {
  const info = await store.head(sentinelKey(name), options)
  return info === null ? null : await readSentinel(store, name, info, options)
}

/** Null if it was deleted meanwhile. */
async function readSentinel(
  store: ObjectStore,
  name: string,
  { key, modified }: ObjectInfo,
  { signal }: CallOptions,
): Promise<Backup | null> {
  const parsed = parseBackupName(name)
  if (parsed === null) throw damaged(key, 'is not the name of a base backup')
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of await store.get(key, { signal })) {
      bytes += part.length
      if (bytes > largestSentinelBytes) throw damaged(key, `holds more than ${largestSentinelBytes} bytes`)
      parts.push(part)
    }
  } catch (error) {
    if (isError(error, 'KEY_MISSING')) return null
    throw error
  }
  const { segment } = parsed
  const timeline = Number.parseInt(segment.slice(0, 8), 16)
  return { ...parseSentinel(key, Buffer.concat(parts)), name, segment, timeline, modified }
}
