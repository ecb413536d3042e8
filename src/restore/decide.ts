/**
 * What to answer for a segment: one pure decision over what was seen in the archive and beside DEST.
 *
 * To say that a segment is absent ends a recovery, so it is said only when nothing in the archive needs the segment. To
 * serve a tail replaces what PostgreSQL has of that segment itself, so it is served only when PostgreSQL has not more.
 */
import { WalferryError } from '../kit/errors.ts'

export interface SegmentSeen {
  readonly name: string
  /** Bytes of the tail in the archive; 0 for none. */
  readonly tailBytes: number
  readonly segmentBytes: number | null
  /** The key of a later object of the same timeline, or null. */
  readonly later: string | null
  /** A timeline that forked from this one behind this segment, and has WAL; or null. */
  readonly forkedLater: number | null
  /** How pg_wal's own copy compares with the tail. */
  readonly own: OwnCopy
}

/**
 * - `none`: there is none, or it is not looked at because there is no tail
 * - `has-all`: it begins with all of the tail's WAL
 * - `shorter`: its WAL is a beginning of the tail's
 * - `differs`: both are valid WAL, and differ
 */
export type OwnCopy = 'none' | 'has-all' | 'shorter' | 'differs'

export type Decision = 'serve-tail' | 'serve-full-tail' | 'absent'

/** Throws ARCHIVE_HOLE (retryable: the segment may be on its way) or ARCHIVE_CONFLICT. */
export function decide(seen: SegmentSeen): Decision {
  if (seen.segmentBytes !== null && seen.tailBytes === seen.segmentBytes) return 'serve-full-tail'
  const neededBy =
    seen.later ?? (seen.forkedLater === null ? null : `timeline ${seen.forkedLater}, which forked behind it`)
  if (neededBy !== null) {
    throw new WalferryError('ARCHIVE_HOLE', `the archive lacks ${seen.name}, but has ${neededBy}`, {
      retryable: true,
      fields: { segment: seen.name, tailBytes: seen.tailBytes },
      hint:
        'WAL behind the hole cannot be reached. Look for the segment in pg_wal of the server, in the spool of the receiver, or ' +
        'in another archive, and put it back. To recover up to the hole, set recovery_target_lsn before it.',
    })
  }
  if (seen.tailBytes === 0) return 'absent'
  if (seen.own === 'has-all') return 'absent'
  if (seen.own === 'differs') {
    throw new WalferryError(
      'ARCHIVE_CONFLICT',
      `pg_wal has a ${seen.name} with other WAL than the archive's tail of it`,
      {
        fields: { segment: seen.name, tailBytes: seen.tailBytes },
        hint:
          'One of the two belongs to another history, and the data directory may hold pages of its own one. To recover with the ' +
          'archive, begin with a copy of the data directory from before; to recover with what is here, remove restore_command.',
      },
    )
  }
  return 'serve-tail'
}
