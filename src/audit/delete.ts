/**
 * Deletes one base backup, and never WAL. The sentinel goes first: from then on it is no backup, whatever is left of it.
 * A note that it is being deleted stays until all else is gone, so that an interrupted deletion can be repeated, and is
 * not mistaken for a backup that is being written, which has no sentinel yet either.
 */
import type { Archive } from '../archive/archive.ts'
import {
  backupNotes,
  claimKey,
  deletingKey,
  objectsFolder,
  parseBackupName,
  sentinelKey,
} from '../archive/backup-keys.ts'
import { type Backup, readBackup } from '../archive/backups.ts'
import { lineOf } from '../archive/line.ts'
import { isPermanent } from '../archive/permanence.ts'
import { type Survey, surveyArchive, windowsOfAll } from '../archive/survey.ts'
import { type RecoveryWindow, standingOf, windowsOf } from '../archive/windows.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import type { Lsn } from '../wal/lsn.ts'
import { noBackup } from './mark.ts'

export interface Deletion {
  readonly name: string
  /** Null: a deletion that was interrupted, and is only to be finished. */
  readonly backup: Backup | null
  readonly losses: readonly Loss[]
  /** Backups that hold only what has changed since this one, or since one of those. */
  readonly needing: readonly string[]
}

/** What can be restored with this backup only. */
export interface Loss {
  readonly timeline: number
  readonly from: Lsn
  readonly to: Lsn
  /** The backup with which one can begin from then on; null: the whole window is lost. */
  readonly next: Backup | null
}

const keysAtOnce = 1000

/**
 * Looks what a deletion means; nothing is changed. Rejects BACKUP_MISSING, also for one that is still being written,
 * and BACKUP_PERMANENT.
 */
export async function planDeletion(archive: Archive, name: string, options: CallOptions): Promise<Deletion> {
  const { store } = archive
  const backup = await readBackup(store, name, options)
  if (backup === null) {
    if (!(await isBegun(store, name, options))) throw noBackup(store, name)
    return { name, backup, losses: [], needing: [] }
  }
  if (backup.deltaFrom !== null) {
    throw new WalferryError('BAD_INPUT', `${name} holds only what has changed since ${backup.deltaFrom}`, {
      hint: 'Others may rest on it: delete it with wal-g delete.',
    })
  }
  if (await isPermanent(store, backup, options)) {
    throw new WalferryError('BACKUP_PERMANENT', `${name} is marked as permanent`, {
      fields: { backup: name },
      hint: `If it is not needed any more: walferry mark ${name} --no-permanent.`,
    })
  }
  const survey = await surveyArchive(archive, options)
  return { name, backup, losses: lossesOf(survey, backup), needing: needing(survey.backups, name) }
}

/** Whether a deletion was begun and not finished. A claim that is younger than its note is that of a new backup. */
async function isBegun(store: ObjectStore, name: string, options: CallOptions): Promise<boolean> {
  const parsed = parseBackupName(name)
  if (parsed === null) return false
  const note = await store.head(deletingKey(parsed.segment), options)
  const claim = await store.head(claimKey(parsed.segment), options)
  return note !== null && (claim === null || claim.modified <= note.modified)
}

/** A branch that was left can be restored, too, where somebody names it: with the backups that lead there only. */
function lossesOf(survey: Survey, backup: Backup): Loss[] {
  const lines = windowsOfAll(survey).map(({ line }) => line)
  const isBeside = lines.every((line) => standingOf(line, backup) === 'other line')
  const branch = isBeside ? lineOf(survey.coverage, backup.stopTimeline ?? backup.timeline) : null
  return [...lines, ...(branch === null ? [] : [branch])]
    .flatMap((line) => windowsOf(line, survey.backups))
    .flatMap((window) => lossOf(window, backup.name) ?? [])
}

/** A backup with an earlier one in its window only shortens the way. */
export function lossOf({ timeline, backups, run }: RecoveryWindow, name: string): Loss | null {
  const [first, next = null] = backups
  if (first.name !== name) return null
  return { timeline, from: first.finishLsn, to: next?.finishLsn ?? run.end, next }
}

/** Names only: a delta's name ends with the segment of the one before it. */
function needing(backups: readonly Backup[], name: string): string[] {
  const found: string[] = []
  const since = new Set([name])
  for (let more = true; more; ) {
    const next = backups.filter((one) => one.deltaFrom !== null && since.has(one.deltaFrom) && !since.has(one.name))
    for (const one of next) {
      since.add(one.name)
      found.push(one.name)
    }
    more = next.length > 0
  }
  return found
}

/** Resolves once everything is gone. What an abort leaves is deleted by the next call. */
export async function deleteBackup(store: ObjectStore, name: string, now: Date, options: CallOptions): Promise<void> {
  const parsed = parseBackupName(name)
  if (parsed === null) throw noBackup(store, name)
  const { segment } = parsed
  const note = deletingKey(segment)
  await store.put(note, Buffer.from(`${JSON.stringify({ name, since: now })}\n`), { ...options, ifAbsent: false })
  await store.deleteMany([sentinelKey(name)], options)
  await deleteBelow(store, objectsFolder(name), null, options)
  await deleteBelow(store, backupNotes(segment), note, options)
  await store.deleteMany([note], options)
}

async function deleteBelow(
  store: ObjectStore,
  prefix: string,
  except: string | null,
  options: CallOptions,
): Promise<void> {
  for (;;) {
    const keys: string[] = []
    for await (const { key } of store.list({ prefix, limit: keysAtOnce, ...options })) {
      if (key !== except) keys.push(key)
    }
    if (keys.length === 0) return
    await store.deleteMany(keys, options)
  }
}
