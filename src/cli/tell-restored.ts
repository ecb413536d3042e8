/** What `restore` has done, and the one step that is left. */
import type { Backup } from '../archive/backups.ts'
import { humanBytes } from '../audit/tell-listing.ts'
import { majorOf } from '../restore/refuse-incomplete.ts'
import type { Restored } from '../restore/restore-files.ts'
import { formatLsn } from '../wal/lsn.ts'

export interface Told extends Restored {
  readonly backup: Backup
  /** Names of variables that restore_command needs, too. */
  readonly variables: readonly string[]
}

const vouched = {
  manifest: "every file is as the server's manifest lists it",
  archive: "the archive's checksums are right; the backup has no manifest of the server to compare the files with",
  nothing: 'nothing vouches for the files: the backup has neither a manifest nor checksums',
} as const

export function tellText(told: Told): string {
  const { backup, folder, files, bytes, tablespaces, checkedBy, notes } = told
  const lines = [
    `restored ${backup.name} to ${folder}: ${files} files, ${humanBytes(bytes)}; ${vouched[checkedBy]}`,
    ...tablespaces.map(({ oid, location }) => `tablespace ${oid} is at ${location}`),
    ...notes.map((note) => `note: ${note}`),
    ...beforeStart(told).map((note) => `note: ${note}`),
    '',
    `Start PostgreSQL ${majorOf(backup)}; it recovers from the archive:`,
    `    ${startCommand(folder)}`,
  ]
  return `${lines.join('\n')}\n`
}

export function tellJson(told: Told): string {
  const { backup } = told
  const result = {
    backup: backup.name,
    folder: told.folder,
    postgresql: majorOf(backup),
    timeline: backup.timeline,
    startLsn: formatLsn(backup.startLsn),
    finishLsn: formatLsn(backup.finishLsn),
    files: told.files,
    bytes: told.bytes,
    checkedBy: told.checkedBy,
    tablespaces: told.tablespaces,
    notes: [...told.notes, ...beforeStart(told)],
    start: startCommand(told.folder),
  }
  return `${JSON.stringify(result, null, 2)}\n`
}

function startCommand(folder: string): string {
  return `pg_ctl -D ${quoted(folder)} start`
}

/** What a person has to see to first. */
function beforeStart({ folder, tablespaces, hasConf, variables }: Told): string[] {
  const notes: string[] = []
  if (process.getuid?.() === 0) {
    const all = [folder, ...tablespaces.map(({ location }) => location)].map(quoted).join(' ')
    notes.push(`PostgreSQL does not run as root: chown -R postgres:postgres ${all}`)
  }
  if (variables.length > 0) {
    notes.push(`restore_command runs in the server's environment, which has to have: ${variables.join(', ')}`)
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
