/** The last look at unpacked files before the folder becomes one that a server starts in. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { partsFolder } from '../archive/backup-keys.ts'
import type { Backup } from '../archive/backups.ts'
import { damaged } from '../archive/damaged.ts'
import { formatLsn } from '../wal/lsn.ts'
import { readControlFile } from './control-file.ts'
import type { FolderWriter } from './folder-writer.ts'
import { controlPath } from './unfinished.ts'

/**
 * Throws ARCHIVE_DAMAGED if there is not all that a server cannot start without, or would start wrongly without (without
 * backup_label it takes the folder for one that crashed), or if it belongs to another backup than the sentinel says.
 * Resolves with the content of global/pg_control.
 */
export async function refuseIncomplete(folder: string, backup: Backup, writer: FolderWriter): Promise<Buffer> {
  const key = partsFolder(backup.name)
  const { control } = writer
  if (control === null) throw damaged(key, `holds no ${controlPath}`)
  for (const path of ['PG_VERSION', 'backup_label']) {
    if (!writer.files.has(path)) throw damaged(key, `holds no ${path}`)
  }
  const label = await readFile(join(folder, 'backup_label'), 'utf8')
  const start = /^START WAL LOCATION: (\S+) /.exec(label)?.[1]
  if (start !== formatLsn(backup.startLsn)) {
    throw damaged(
      key,
      `holds the backup_label of a backup that begins at ${start}, not at ${formatLsn(backup.startLsn)}`,
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
