/** Which backup a restore takes, and which settings lead the server from there to the target. */
import type { Archive } from '../archive/archive.ts'
import { type Backup, listBackups, readBackup } from '../archive/backups.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import type { Lsn } from '../wal/lsn.ts'

/** What a person asks for. */
export interface RestoreRequest {
  /** A backup's name; null: the one that suits the target. */
  readonly backup: string | null
  /** Null: as far as the archive reaches. */
  readonly target: RecoveryTarget | null
  readonly inclusive: boolean
  readonly timeline: number | 'latest'
  readonly action: 'pause' | 'promote' | 'shutdown'
  readonly standby: boolean
}

export type RecoveryTarget =
  /** `text` is what was written, with the microseconds that a Date has no room for. */
  | { readonly kind: 'time'; readonly time: Date; readonly text: string }
  | { readonly kind: 'lsn'; readonly lsn: Lsn }
  | { readonly kind: 'xid'; readonly xid: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'immediate' }

export interface RestorePlan {
  readonly backup: Backup
  /** Recovery settings but restore_command, in order: name and value, unquoted. */
  readonly settings: ReadonlyArray<readonly [string, string]>
  /** Sentences for the person: what was changed about the request, and why. */
  readonly notes: readonly string[]
}

/** Throws BAD_INPUT if there is no such backup. */
export async function planRestore(
  archive: Archive,
  request: RestoreRequest,
  options: CallOptions,
): Promise<RestorePlan> {
  const backup = await chooseBackup(archive, request.backup, options)
  return { backup, settings: [['recovery_target_timeline', String(request.timeline)]], notes: [] }
}

async function chooseBackup(archive: Archive, name: string | null, options: CallOptions): Promise<Backup> {
  if (name !== null) {
    const named = await readBackup(archive.store, name, options)
    if (named !== null) return named
    throw new WalferryError('BAD_INPUT', `there is no backup ${name} in ${archive.store.url}`)
  }
  const backups = await listBackups(archive.store, options)
  const newest = backups.toSorted((a, b) => b.modified.getTime() - a.modified.getTime())[0]
  if (newest !== undefined) return newest
  throw new WalferryError('BAD_INPUT', `there is no base backup in ${archive.store.url}`)
}
