/** What `restore` has done, and the one step that is left. */
import type { RestorePlan } from '../restore/restore-plan.ts'
import { majorOf } from '../restore/refuse-incomplete.ts'
import type { Restored } from '../restore/restore-files.ts'
import { formatLsn } from '../wal/lsn.ts'
import { sizeOf } from './size.ts'

const vouched = {
  manifest: "every file is as the server's manifest lists it",
  archive: "the archive's checksums are right; the backup has no manifest of the server to compare the files with",
  nothing: 'nothing vouches for the files: the backup has neither a manifest nor checksums',
} as const

export function tellText({ backup }: RestorePlan, restored: Restored): string {
  const major = majorOf(backup)
  const { folder, files, bytes, tablespaces, checkedBy, notes } = restored
  const lines = [
    `restored ${backup.name} to ${folder}: ${files} files, ${sizeOf(bytes)}; ${vouched[checkedBy]}`,
    ...tablespaces.map(({ oid, location }) => `tablespace ${oid} is at ${location}`),
    ...notes.map((note) => `note: ${note}`),
    ...beforeStart(restored).map((note) => `note: ${note}`),
    '',
    `Start PostgreSQL ${major}; it recovers from the archive:`,
    `    ${startCommand(folder)}`,
  ]
  return `${lines.join('\n')}\n`
}

export function tellJson({ backup }: RestorePlan, restored: Restored): string {
  const result = {
    backup: backup.name,
    folder: restored.folder,
    postgresql: majorOf(backup),
    timeline: backup.timeline,
    startLsn: formatLsn(backup.startLsn),
    finishLsn: formatLsn(backup.finishLsn),
    files: restored.files,
    bytes: restored.bytes,
    checkedBy: restored.checkedBy,
    tablespaces: restored.tablespaces,
    notes: [...restored.notes, ...beforeStart(restored)],
    start: startCommand(restored.folder),
  }
  return `${JSON.stringify(result, null, 2)}\n`
}

function startCommand(folder: string): string {
  return `pg_ctl -D ${quoted(folder)} start`
}

/** What a person has to see to first. */
function beforeStart({ folder, tablespaces, hasConf }: Restored): string[] {
  const notes: string[] = []
  if (process.getuid?.() === 0) {
    const all = [folder, ...tablespaces.map(({ location }) => location)].map(quoted).join(' ')
    notes.push(`PostgreSQL does not run as root: chown -R postgres:postgres ${all}`)
  }
  if (!hasConf) {
    notes.push(
      'the backup holds no postgresql.conf, because the server kept it elsewhere: give the new one its own (-o "-c config_file=...")',
    )
  }
  return notes
}

/** As one word for the shell. */
function quoted(text: string): string {
  return /^[\w@+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
