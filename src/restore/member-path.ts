/**
 * The names of the members of a backup's tar files, which come from the store and may be anything.
 *
 *     base/5/16384                                   as the server writes it
 *     /base/5/16384   ./pg_wal/archive_status/       WAL-G and the server write such, too
 *     pg_tblspc/16385/PG_15_202209061/5/16386        lies in a tablespace
 *
 * What comes out names a place below the data folder or below a tablespace, and no other.
 */
import { WalferryError } from '../kit/errors.ts'

/** Where a member belongs. */
export interface MemberPath {
  /** As the server's manifest writes it: without leading slash, empty parts and trailing slash; '' for the data folder. */
  readonly path: string
  /** The tablespace below whose location it lies; null: below the data folder. */
  readonly oid: string | null
  /** Relative to the data folder or to the tablespace's location; '' for that folder itself. */
  readonly within: string
}

/** In a tablespace the server writes nothing outside of such a folder: major version, and number of its catalogue. */
const versionFolder = /^PG_\d+_\d+$/

/** PATH_MAX without the zero at its end, and NAME_MAX. */
const mostPathBytes = 4095
const mostPartBytes = 255
/** Of a name in a message, in characters: in a tar file it may have a megabyte. */
const mostShown = 300

/** Throws ARCHIVE_DAMAGED for a name that no server writes, and that could lead elsewhere, or has no place at all. */
export function parseMemberPath(key: string, name: string): MemberPath {
  const parts = name.replace(/^\/|^(?:\.\/)+/, '').split('/')
  // A folder's name ends in a slash; the data folder itself is ".", "./" or "/".
  if (parts.at(-1) === '' || (parts.length === 1 && parts[0] === '.')) parts.pop()
  if (/[\0\uFFFD]/.test(name)) throw refused(key, name, 'has bytes in it that are no text')
  if (name === '') throw refused(key, name, 'is empty')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) throw refused(key, name, 'leads elsewhere')
  if (Buffer.byteLength(name) > mostPathBytes || parts.some((part) => Buffer.byteLength(part) > mostPartBytes)) {
    throw refused(key, name, 'is longer than any path')
  }
  const path = parts.join('/')
  const [top, oid, version] = parts
  if (top !== 'pg_tblspc' || oid === undefined) return { path, oid: null, within: path }
  if (!/^[1-9]\d{0,9}$/.test(oid)) throw refused(key, name, 'lies where only tablespaces do')
  if (version !== undefined && !versionFolder.test(version)) {
    throw refused(key, name, 'lies where no server puts the files of a tablespace')
  }
  return { path, oid, within: parts.slice(2).join('/') }
}

/** A member that is not restored: no server writes such, and to follow it could write to any place of the machine. */
export function refused(key: string, name: string, why: string): WalferryError {
  const shown = name.length > mostShown ? `${name.slice(0, mostShown)}...` : name
  return new WalferryError('ARCHIVE_DAMAGED', `${key}: the member ${JSON.stringify(shown)} ${why}`, {
    hint: 'No PostgreSQL server writes this. Find out who could write to the archive before you use another backup of it.',
    fields: { key, member: shown },
  })
}
