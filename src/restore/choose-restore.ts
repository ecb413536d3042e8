/** Chooses the backup that a restore takes, and the settings that lead the server from there to the target. */
import type { Archive } from '../archive/archive.ts'
import { type Backup, listBackups, readBackup } from '../archive/backups.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import type { RestorePlan, RestoreRequest } from './restore-plan.ts'

/** Throws BAD_INPUT if there is no such backup. */
export async function planRestore(
  archive: Archive,
  request: RestoreRequest,
  options: CallOptions,
): Promise<RestorePlan> {
  const backup = await chooseBackup(archive, request.backup, options)
  const target: [string, string][] = request.target?.kind === 'immediate' ? [['recovery_target', 'immediate']] : []
  const action: [string, string][] = target.length > 0 ? [['recovery_target_action', request.action]] : []
  const timeline: [string, string] = ['recovery_target_timeline', String(request.timeline)]
  return { backup, settings: [...target, timeline, ...action], notes: [] }
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
