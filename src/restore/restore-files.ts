/**
 * Brings a base backup back into a folder in which a server can then be started: it recovers from the archive, up to
 * what the plan says.
 *
 * Nothing is written before all that can be known beforehand is known: the backup's objects, its manifest, the places
 * of its tablespaces, the space on their disks. An interruption at any later moment leaves a folder that no server
 * starts in, and that the next restore recognizes (unfinished.ts).
 */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { type BackupManifest, parseManifest } from '../archive/backup-manifest.ts'
import { claimKey, manifestContent, parsePartKey, partsFolder, sentinelKey } from '../archive/backup-keys.ts'
import type { Backup } from '../archive/backups.ts'
import { damaged } from '../archive/damaged.ts'
import { inOrder } from '../archive/in-order.ts'
import { reasonOf } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo } from '../store/object-store.ts'
import { formatLsn } from '../wal/lsn.ts'
import { readControlFile } from './control-file.ts'
import { FolderWriter, writeFailed } from './folder-writer.ts'
import type { SettingsAsked } from './recovery-settings.ts'
import type { RestorePlan } from './restore-plan.ts'
import { settle } from './settle.ts'
import { placeTablespaces, type TablespaceMapping } from './tablespaces.ts'
import { readTar } from './tar-members.ts'
import { begin, clearFolder, controlPath, end, realFolder, refuseUsedPlace } from './unfinished.ts'
import type { Tablespace } from '../archive/sentinel.ts'

export interface RestoreJob {
  /** Absolute. */
  readonly folder: string
  /** Replace what an interrupted restore has left. */
  readonly force: boolean
  readonly tablespaceMapping: TablespaceMapping
  readonly standby: boolean
  readonly settings: Omit<SettingsAsked, 'recovery'>
  /** Objects that are read at once. */
  readonly downloadConcurrency: number
  /** Bytes of tar files that were unpacked, of about so many. */
  readonly onProgress: (bytes: number, total: number) => void
}

export interface Restored {
  readonly folder: string
  readonly files: number
  readonly bytes: number
  /** With their places here. */
  readonly tablespaces: readonly Tablespace[]
  /** What vouches for the files. */
  readonly checkedBy: 'manifest' | 'archive' | 'nothing'
  /** Whether postgresql.conf is there: some systems keep it elsewhere. */
  readonly hasConf: boolean
  readonly notes: readonly string[]
}

/**
 * Throws BAD_INPUT, before anything is written, if the folder or the backup cannot be used; ARCHIVE_DAMAGED,
 * RESTORE_FAILED and what the store throws at any time. An abort leaves what can be replaced with `force`.
 */
export async function restoreFiles(
  archive: Archive,
  plan: RestorePlan,
  job: RestoreJob,
  options: CallOptions,
): Promise<Restored> {
  const { backup } = plan
  refuseDelta(backup)
  const parts = await listParts(archive, backup, options)
  const manifest = await readManifest(archive, backup, options)
  const folder = await realFolder(job.folder)
  const tablespaces = placeTablespaces(backup.tablespaces, job.tablespaceMapping, folder)
  const places = tablespaces.map(({ location }) => location)
  await clearFolder(folder, job.force)
  for (const place of places) await refuseUsedPlace(place)

  const mark = { id: randomUUID(), backup: backup.name, places }
  const lock = await begin(folder, mark).catch((error: unknown) => Promise.reject(writeFailed(folder, error)))
  try {
    const writer = new FolderWriter(folder, tablespaces, manifest?.list ?? null)
    const isChecked = await unpackAll({ archive, backup, parts, writer, job }, options)
    if (manifest !== null) writer.refuseMissing(manifest.key)
    const control = await refuseIncomplete(folder, backup, writer)
    const notes = await settle({
      folder,
      key: sentinelKey(backup.name),
      writer,
      control,
      tablespaces,
      manifest: manifest?.content ?? null,
      standby: job.standby,
      settings: { ...job.settings, recovery: plan.settings },
    })
    await end(folder, mark)
    return {
      folder,
      files: writer.files.size,
      bytes: [...writer.files.values()].reduce((sum, file) => sum + (file?.bytes ?? 0), 0),
      tablespaces,
      checkedBy: manifest !== null ? 'manifest' : isChecked ? 'archive' : 'nothing',
      hasConf: writer.files.has('postgresql.conf'),
      notes: [...plan.notes, ...notes],
    }
  } finally {
    await lock.close()
  }
}

function refuseDelta(backup: Backup): void {
  if (backup.deltaFrom === null && !backup.name.includes('_D_')) return
  throw new WalferryError(
    'BAD_INPUT',
    `${backup.name} holds only what has changed since ${backup.deltaFrom ?? 'another backup'}`,
    {
      hint: `WAL-G can put the two together: wal-g backup-fetch DIR ${backup.name}. Or restore a full one: --backup NAME.`,
      fields: { backup: backup.name },
    },
  )
}

interface Parts {
  readonly first: readonly ObjectInfo[]
  readonly control: ObjectInfo
}

/** Every object in the folder holds a part. Throws ARCHIVE_DAMAGED if it does not, or if the last one is not there. */
async function listParts(archive: Archive, backup: Backup, { signal }: CallOptions): Promise<Parts> {
  const first: ObjectInfo[] = []
  const controls: ObjectInfo[] = []
  for await (const info of archive.store.list({ prefix: partsFolder(backup.name), signal })) {
    const parsed = parsePartKey(info.key)
    if (parsed === null) throw damaged(info.key, 'lies among the parts of a backup, and its name is not that of a part')
    ;(parsed.isControl ? controls : first).push(info)
  }
  const [control, another] = controls
  if (control === undefined) throw damaged(`${partsFolder(backup.name)}pg_control.tar`, 'is not there')
  if (another !== undefined) throw damaged(another.key, 'is there under another extension, too')
  return { first, control }
}

interface Manifest {
  readonly key: string
  readonly content: Uint8Array
  readonly list: BackupManifest
}

const mostManifestBytes = 1024 ** 3 // about six million files

/** Null for a backup of WAL-G, which keeps none. */
async function readManifest(archive: Archive, backup: Backup, options: CallOptions): Promise<Manifest | null> {
  const [found] = await archive.findContent(manifestContent(backup.segment), options)
  if (found === undefined) {
    if ((await archive.store.head(claimKey(backup.segment), options)) === null) return null
    throw damaged(manifestContent(backup.segment), 'is not there, and the backup was taken by walferry')
  }
  const content = await archive.readSmall(found.key, mostManifestBytes, options)
  const list = parseManifest(found.key, content)
  const range = list.walRanges.find(({ timeline }) => timeline === backup.timeline)
  if (range?.start !== backup.startLsn) {
    throw damaged(found.key, `is that of another backup: it does not begin at ${formatLsn(backup.startLsn)}`)
  }
  return { key: found.key, content, list }
}

interface Unpacking {
  readonly archive: Archive
  readonly backup: Backup
  readonly parts: Parts
  readonly writer: FolderWriter
  readonly job: RestoreJob
}

/** Returns whether the archive's own checksums covered every byte. The first failure breaks the others off. */
async function unpackAll({ archive, backup, parts, writer, job }: Unpacking, options: CallOptions): Promise<boolean> {
  const stop = new AbortController()
  const onAbort = (): void => stop.abort(reasonOf(options.signal))
  options.signal.addEventListener('abort', onAbort, { once: true })
  let bytes = 0
  const unpack = async ({ key }: ObjectInfo): Promise<boolean> => {
    try {
      const plain = await archive.readObject(key, { atMost: Number.MAX_SAFE_INTEGER }, { signal: stop.signal })
      const counted = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of plain) {
          bytes += piece.length
          job.onProgress(bytes, backup.plainBytes)
          yield piece
        }
      }
      await readTar(key, counted(), writer.taker(key))
      return plain.checked
    } catch (error) {
      stop.abort(error)
      throw reasonOf(stop.signal)
    }
  }
  try {
    options.signal.throwIfAborted()
    let isChecked = true
    for await (const one of inOrder(parts.first, job.downloadConcurrency, unpack)) isChecked &&= one
    return (await unpack(parts.control)) && isChecked
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

/**
 * Throws ARCHIVE_DAMAGED if there is not all that a server cannot start without, or would start wrongly without, or if
 * it belongs to something else. Resolves with the content of global/pg_control.
 */
async function refuseIncomplete(folder: string, backup: Backup, { files, control }: FolderWriter): Promise<Buffer> {
  const key = partsFolder(backup.name)
  for (const path of ['PG_VERSION', 'backup_label']) if (!files.has(path)) throw damaged(key, `holds no ${path}`)
  if (control === null) throw damaged(key, `holds no ${controlPath}`)
  const label = await readFile(join(folder, 'backup_label'), 'utf8')
  const start = /^START WAL LOCATION: (\S+) /.exec(label)?.[1]
  if (start !== formatLsn(backup.startLsn)) {
    throw damaged(
      key,
      `holds the backup_label of another backup: it begins at ${start}, not at ${formatLsn(backup.startLsn)}`,
    )
  }
  const version = (await readFile(join(folder, 'PG_VERSION'), 'utf8')).trim()
  const major = majorOf(backup)
  if (version !== String(major)) throw damaged(key, `is of PostgreSQL ${version}, and its sentinel says ${major}`)
  const system = readControlFile(key, control)
  if (backup.systemIdentifier !== null && system !== backup.systemIdentifier) {
    throw damaged(key, `is of the cluster ${system}, and its sentinel says ${backup.systemIdentifier}`)
  }
  return control
}

/** The major version whose programs the backup needs. */
export function majorOf(backup: Backup): number {
  return Math.floor(backup.serverVersion / 10_000)
}
