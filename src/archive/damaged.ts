import { WalferryError } from '../kit/errors.ts'

/** An object that cannot be what was stored. `what` goes on from the key: "is cut", "has a wrong checksum". */
export function damaged(key: string, what: string, cause?: unknown): WalferryError {
  return new WalferryError('ARCHIVE_DAMAGED', `${key} ${what}`, {
    hint: `Keep the object for a closer look. ${isOfBackup(key) ? otherBackup : otherWal}`,
    fields: { key },
    ...(cause === undefined ? {} : { cause }),
  })
}

const otherWal = 'The same WAL may still be in the spool, in pg_wal, or in a copy of the archive.'
const otherBackup =
  'Another backup, with the WAL behind it, may lead as far: walferry list shows them, restore --backup takes one.'

function isOfBackup(key: string): boolean {
  return /^(?:basebackups_005|walferry_001\/backups)\//.test(key)
}

/** An object that begins with other bytes than its extension promises. */
export function notOfItsFormat(key: string, format: string): WalferryError {
  return new WalferryError('ARCHIVE_DAMAGED', `${key} is not in the format ${format} that its name promises`, {
    hint: 'Keep the object for a closer look. If WAL-G has encrypted it with PGP (WALG_PGP_KEY), read it with WAL-G: this version cannot.',
    fields: { key },
  })
}
