/**
 * What to answer for a segment that is not there as one object: one pure decision over what was seen in the archive and
 * beside DEST.
 *
 * To say that a segment is absent ends a recovery, so it is said only when nothing in the archive needs the segment. To
 * serve a tail replaces what PostgreSQL has of that segment itself, so it is served only when PostgreSQL has not more.
 * And where a timeline's first segment is absent, the server goes on with its parent's, so that must not lead it
 * beyond the fork.
 */
import { WalferryError } from '../kit/errors.ts'
import { formatLsn, type Lsn, plus } from '../wal/lsn.ts'

export interface SegmentSeen {
  readonly name: string
  /** The position of its first byte. */
  readonly start: Lsn
  readonly segmentBytes: number
  /** Bytes of the tail, in a timeline's first segment filled up to the fork; 0 for none, or none to be served. */
  readonly tailBytes: number
  /** A later object of the same timeline, or a timeline that forked behind this segment; null for none. */
  readonly neededBy: string | null
  /** What the parent lacks to fill the tail up to the fork; null elsewhere. */
  readonly lacking: Lacking | null
  /** WAL that the server would take for what is not there; null elsewhere. */
  readonly lostBranch: LostBranch | null
  /** pg_wal's own file of that name. */
  readonly own: OwnCopy
  /** Whether the archive is taken to end at a hole. */
  readonly endAtHole: boolean
}

/** A tail of a timeline's first segment that ends before the fork, although filled up with the parent's bytes. */
export interface Lacking {
  /** The parent's segment. */
  readonly name: string
  readonly forkOffset: number
  /** How far the bytes reach. */
  readonly bytes: number
}

/** WAL of an ancestor behind the point where the line left it. */
export interface LostBranch {
  readonly timeline: number
  readonly fork: Lsn
  /** How far into the segment its own timeline begins. */
  readonly forkOffset: number
}

export interface OwnCopy {
  /**
   * How it compares with the tail:
   * - `none`: there is no such file
   * - `has-all`: it begins with all of the tail's WAL
   * - `shorter`: its WAL is a beginning of the tail's
   * - `differs`: both are valid WAL, and differ
   */
  readonly compared: 'none' | 'has-all' | 'shorter' | 'differs'
  /** Bytes from the begin in which it equals the tail. */
  readonly equalBytes: number
  /** Bytes from its begin that are whole records. */
  readonly validBytes: number
  /** Its records run up to the segment's end or past it, or end in an XLOG_SWITCH. */
  readonly complete: boolean
}

/**
 * - `serve-tail`, `serve-full-tail`: padded to the full size; a tail of the full size is a whole segment
 * - `own`: "not there", because the server has it in pg_wal, or more of it
 * - `end`: "not there", because the archive ends before it
 * - `end-at-hole`: the same, although it goes on behind a hole
 */
export type Decision = 'serve-tail' | 'serve-full-tail' | 'own' | 'end' | 'end-at-hole'

/**
 * Throws ARCHIVE_HOLE and ARCHIVE_LOST_BRANCH (retryable: what is missing may be on its way), and ARCHIVE_CONFLICT.
 */
export function decide(seen: SegmentSeen): Decision {
  const { tailBytes, own, lostBranch, lacking } = seen
  if (tailBytes === seen.segmentBytes) return 'serve-full-tail'
  const isHole = seen.neededBy !== null && !seen.endAtHole
  if (isHole || tailBytes === 0) {
    // What is not served the server looks for in its own pg_wal, and then on the ancestors' timelines.
    if (lostBranch !== null && !reaches(own, lostBranch.forkOffset)) throw branch(seen, lostBranch)
    if (own.complete && own.compared !== 'differs') return 'own'
    if (isHole) throw hole(seen)
    return seen.neededBy === null ? 'end' : 'end-at-hole'
  }
  if (lacking !== null && !reaches(own, lacking.forkOffset)) throw tooShort(seen, lacking)
  if (own.compared === 'has-all') return 'own'
  if (own.compared === 'differs') throw conflict(seen)
  return 'serve-tail'
}

/** With so much of its own, the server takes its own file and does not look for an ancestor's. */
function reaches(own: OwnCopy, bytes: number): boolean {
  return own.validBytes > 0 && own.validBytes >= bytes
}

function hole(seen: SegmentSeen): WalferryError {
  const end = formatLsn(plus(seen.start, seen.tailBytes))
  return new WalferryError('ARCHIVE_HOLE', `the archive lacks ${seen.name}, but has ${seen.neededBy}`, {
    retryable: true,
    fields: { segment: seen.name, tailBytes: seen.tailBytes, goodUpTo: end },
    hint:
      `WAL is good up to ${end}; what lies behind the hole cannot be reached. Look for the segment in pg_wal of the server, in ` +
      'the spool of the receiver, or in another archive, and put it back. To give up what lies behind it: --end-at-hole. To ' +
      'reach a recovery target just before it, PostgreSQL 15 and later need recovery_prefetch = off, because they read ahead.',
  })
}

function branch(seen: SegmentSeen, { timeline, fork }: LostBranch): WalferryError {
  const at = formatLsn(fork)
  return new WalferryError(
    'ARCHIVE_LOST_BRANCH',
    `the archive lacks ${seen.name}, with which its timeline begins, but has WAL of timeline ${timeline} behind the fork at ${at}`,
    {
      retryable: true,
      fields: { segment: seen.name, timeline, goodUpTo: at },
      hint:
        `WAL is good up to ${at}; told "not there", the server would replay what timeline ${timeline} wrote after it. Start the ` +
        'receiver, which ships the segment, or put it into the archive from the pg_wal of a server of its timeline. To ' +
        `recover timeline ${timeline} instead, set recovery_target_timeline = '${timeline}'.`,
    },
  )
}

function tooShort(seen: SegmentSeen, { name, bytes, forkOffset }: Lacking): WalferryError {
  const end = formatLsn(plus(seen.start, bytes))
  const fork = formatLsn(plus(seen.start, forkOffset))
  return new WalferryError(
    'ARCHIVE_HOLE',
    `the archive has ${seen.name} up to ${end} only, before its fork at ${fork}, and ${name} has no more`,
    {
      retryable: true,
      fields: { segment: seen.name, parent: name, goodUpTo: end },
      hint:
        `WAL is good up to ${end}. Start the receiver, which ships the rest, or put ${name} or ${seen.name} into the archive from ` +
        'the pg_wal of a server.',
    },
  )
}

function conflict({ name, start, tailBytes, own }: SegmentSeen): WalferryError {
  const end = formatLsn(plus(start, own.equalBytes))
  return new WalferryError('ARCHIVE_CONFLICT', `pg_wal has a ${name} with other WAL than the archive's tail of it`, {
    fields: { segment: name, tailBytes, goodUpTo: end },
    hint:
      `They are equal up to ${end}. One of the two belongs to another history, and the data directory may hold pages of its own one. To ` +
      'recover with the archive, begin with a copy of the data directory from before; to recover with what is here, remove restore_command.',
  })
}
