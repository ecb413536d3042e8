/**
 * Brings a base backup back into a folder in which a server can then be started: it recovers from the archive, up to
 * what the plan says.
 *
 * Nothing is written before all that can be known beforehand is known: the backup's objects, its manifest, the places
 * of its tablespaces, the space on their disks. An interruption at any later moment leaves a folder that no server
 * starts in, and that the next restore recognizes (unfinished.ts).
 */
import { randomUUID } from 'node:crypto'
import type { Archive } from '../archive/archive.ts'
import { sentinelKey } from '../archive/backup-keys.ts'
import type { Backup } from '../archive/backups.ts'
import { codecOfKey } from '../archive/codec-name.ts'
import { damaged } from '../archive/damaged.ts'
import { inOrder } from '../archive/in-order.ts'
import type { Tablespace } from '../archive/sentinel.ts'
import { mergeSettings } from '../cluster/settings.ts'
import { reasonOf } from '../kit/abort.ts'
import { isError, systemCode, type WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo } from '../store/object-store.ts'
import { type BackupObjects, findObjects } from './backup-objects.ts'
import { FolderWriter, writeFailed } from './folder-writer.ts'
import { makeSettings, type SettingsAsked } from './recovery-settings.ts'
import { refuseIncomplete } from './refuse-incomplete.ts'
import type { RestorePlan } from './restore-plan.ts'
import { settle } from './settle.ts'
import { needsOf, refuseNoSpace } from './space.ts'
import { placeTablespaces, type TablespaceMapping } from './tablespaces.ts'
import { readTar } from './tar-members.ts'
import { begin, clearFolder, end, realFolder, refuseUsedPlace } from './unfinished.ts'

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
  const objects = await findObjects(archive, backup, options)
  const { manifest } = objects
  const folder = await realFolder(job.folder)
  const tablespaces = placeTablespaces(backup.tablespaces, job.tablespaceMapping, folder)
  const places = tablespaces.map(({ location }) => location)
  await clearFolder(folder, job.force)
  for (const place of places) await refuseUsedPlace(place)
  await refuseNoSpace(needsOf(folder, tablespaces, manifest?.list ?? null, backup.plainBytes))

  const settings = { ...job.settings, recovery: plan.settings }
  // What cannot be written into a file of settings is refused now.
  mergeSettings('', makeSettings(settings, { isStandby: job.standby, hasSubscriptions: false }, '', '').settings)

  const mark = { id: randomUUID(), backup: backup.name, places }
  const lock = await begin(folder, mark).catch((error: unknown) => Promise.reject(writeFailed(folder, error)))
  try {
    const writer = new FolderWriter(folder, tablespaces, manifest?.list ?? null)
    const isChecked = await unpackAll({ archive, backup, objects, writer, job }, options)
    if (manifest !== null) writer.refuseMissing(manifest.key)
    const control = await refuseIncomplete(folder, backup, writer)
    const notes = await settle(
      {
        folder,
        key: sentinelKey(backup.name),
        writer,
        control,
        stated: backup.tablespaces,
        tablespaces,
        manifest: manifest?.content ?? null,
        standby: job.standby,
        settings,
      },
      options.signal,
    )
    await end(folder, mark)
    return {
      folder,
      files: writer.files.size,
      bytes: [...writer.files.values()].reduce((sum, file) => sum + (file?.bytes ?? 0), control.length),
      tablespaces,
      checkedBy: manifest !== null ? 'manifest' : isChecked ? 'archive' : 'nothing',
      hasConf: writer.files.has('postgresql.conf'),
      notes: [...plan.notes, ...notes],
    }
  } catch (error) {
    // The store's errors are our own: what the system has said is about the folder.
    throw isError(error) || systemCode(error) === undefined ? error : writeFailed(folder, error)
  } finally {
    await lock.close()
  }
}

/** WAL-G's have a checksum; it is one of ours, and what was kept beside it is lost. */
function unvouchedFor(key: string): WalferryError {
  return damaged(key, "has no checksum of its own, and the server's manifest, which would vouch for it, is not there")
}

interface Unpacking {
  readonly archive: Archive
  readonly backup: Backup
  readonly objects: BackupObjects
  readonly writer: FolderWriter
  readonly job: RestoreJob
}

/** Returns whether the archive's own checksums covered every byte. The first failure breaks the others off. */
async function unpackAll({ archive, backup, objects, writer, job }: Unpacking, options: CallOptions): Promise<boolean> {
  const stop = new AbortController()
  const onAbort = (): void => stop.abort(reasonOf(options.signal))
  options.signal.addEventListener('abort', onAbort, { once: true })
  let bytes = 0
  const unpack = async ({ key }: ObjectInfo): Promise<boolean> => {
    try {
      const plain = await archive.readInThread(key, { atMost: Number.MAX_SAFE_INTEGER }, { signal: stop.signal })
      const counted = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of plain) {
          bytes += piece.length
          job.onProgress(bytes, backup.plainBytes)
          yield piece
        }
      }
      await readTar(key, counted(), writer.taker(key))
      if (!plain.checked && objects.manifest === null && codecOfKey(key) === 'lz4') throw unvouchedFor(key)
      return plain.checked
    } catch (error) {
      stop.abort(error)
      throw reasonOf(stop.signal)
    }
  }
  try {
    options.signal.throwIfAborted()
    let isChecked = true
    for await (const one of inOrder(objects.parts, job.downloadConcurrency, unpack)) isChecked &&= one
    return (await unpack(objects.control)) && isChecked
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}
