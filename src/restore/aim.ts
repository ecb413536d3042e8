/**
 * Finds a recovery target in the archive: the newest backup that ends before it, and the setting that stops the server
 * there.
 *
 * A time target stops PostgreSQL before the first commit or abort that is later; a position, at the first record that
 * begins there or behind (src/backend/access/transam/xlogrecovery.c, recoveryStopsBefore and recoveryStopsAfter). If
 * there is no such record, it is an error there, and so the start of the last whole record becomes the target here.
 */
import type { Archive } from '../archive/archive.ts'
import type { Backup } from '../archive/backups.ts'
import type { Line, LineRun } from '../archive/line.ts'
import { findMark, type LookedBack, lookBack } from '../archive/look-at-wal.ts'
import type { RecoveryWindow } from '../archive/windows.ts'
import type { CallOptions } from '../store/object-store.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import type { RecordMark } from '../wal/record-mark.ts'
import {
  asTimestamp,
  dateOf,
  formatForSetting,
  formatTimestamp,
  parseTimestamp,
  type Timestamp,
  timestampOf,
} from '../wal/timestamp.ts'
import type { RecoveryTarget } from './restore-plan.ts'
import { unreachable } from './unreachable.ts'

export interface Candidate {
  readonly backup: Backup
  /** The WAL that it lies in. */
  readonly run: LineRun
}

export interface Asked {
  readonly archive: Archive
  readonly line: Line
  readonly windows: readonly RecoveryWindow[]
  /** The newest first; at least one. */
  readonly candidates: readonly Candidate[]
  readonly inclusive: boolean
  /** When the newest WAL of the line was stored. */
  readonly newestStored: Date | null
  readonly options: CallOptions
}

export interface Aim {
  readonly candidate: Candidate
  /** The setting; null: as far as the WAL goes. */
  readonly target: readonly [string, string] | null
  readonly inclusive: boolean
  readonly notes: readonly string[]
}

/** What is searched for a transaction or a restore point, at most. */
const searchedBytes = 4 * 1024 * 1024 * 1024
/** By how much a server's clock may be ahead of its store's, and shipping behind the server. */
const clockSlackMs = 60_000

/** Throws TARGET_UNREACHABLE, with what can be reached. */
export async function aimAt(asked: Asked, target: RecoveryTarget | null): Promise<Aim> {
  if (target === null) return await aimAtEnd(asked)
  switch (target.kind) {
    case 'time':
      return await aimAtTime(asked, parseTimestamp(target.text))
    case 'lsn':
      return await aimAtLsn(asked, target.lsn)
    case 'xid':
      return await aimAtXid(asked, target.xid)
    case 'name':
      return await aimAtName(asked, target.name)
    case 'immediate':
      return {
        candidate: newestOf(asked.candidates),
        target: ['recovery_target', 'immediate'],
        inclusive: true,
        notes: [],
      }
  }
}

async function aimAtEnd(asked: Asked): Promise<Aim> {
  const candidate = asked.candidates.find(({ run }) => !run.beforeHole)
  if (candidate !== undefined) return { candidate, target: null, inclusive: true, notes: [] }
  const { run, backup } = newestOf(asked.candidates)
  const end = formatLsn(run.end)
  const what = `the end of timeline ${asked.line.timeline} cannot be reached from ${backup.name}: WAL is missing from ${end} on`
  const hint = `Give up what lies behind with --target-lsn ${end}, or --target immediate for the backup alone.`
  throw await unreachable(asked, what, { hint })
}

async function aimAtTime(asked: Asked, time: Timestamp): Promise<Aim> {
  const isPast = (when: Timestamp | null): boolean => when !== null && (asked.inclusive ? when > time : when >= time)
  const isBefore = ({ finishTime, modified }: Backup): boolean => timestampOf(finishTime ?? modified) <= time
  const text = formatTimestamp(time)
  for (const candidate of asked.candidates.filter(({ backup }) => isBefore(backup))) {
    const { run, backup } = candidate
    const end = await lookBack(asked.archive, asked.line, run, asked.options)
    if (isPast(end.latest) || (end.latest === null && !end.isAll)) {
      // The backup's times are by another clock than those of the commits, which the server goes by; and what was
      // committed before its end is in it, however late that was.
      const own = { from: run.from, end: backup.finishLsn }
      const { latest } = await lookBack(asked.archive, asked.line, own, asked.options)
      if (isPast(latest)) continue
      return {
        candidate,
        target: ['recovery_target_time', formatForSetting(time)],
        inclusive: asked.inclusive,
        notes: [],
      }
    }
    const stored = asked.newestStored
    const isWithin = run.beforeHole
      ? end.latest !== null && time === end.latest
      : stored !== null && time <= asTimestamp(timestampOf(stored) + BigInt(clockSlackMs) * 1000n)
    if (isWithin) return atLastRecord(candidate, end, `nothing was committed after ${text} in the archive's WAL`)
    const last =
      end.lastCommit === null ? 'there is no commit' : `the last commit is of ${formatTimestamp(end.lastCommit)}`
    const why = run.beforeHole
      ? `${last} before WAL is missing, from ${formatLsn(run.end)} on`
      : `${last}, and no WAL was stored after ${stored?.toISOString() ?? 'that'}`
    throw await unreachable(asked, `${text} lies behind what the archive holds: ${why}`, {
      isBefore,
      ...(run.beforeHole ? {} : { hint: 'Without a target, all that the archive holds is restored.' }),
    })
  }
  throw await unreachable(asked, `${text} lies before the end of ${backupsOf(asked)}`, { isBefore })
}

async function aimAtLsn(asked: Asked, lsn: Lsn): Promise<Aim> {
  const isBefore = ({ finishLsn }: Backup): boolean => finishLsn <= lsn
  const text = formatLsn(lsn)
  const newest = asked.candidates.find(({ backup }) => isBefore(backup))
  if (newest === undefined) {
    throw await unreachable(asked, `${text} lies before the end of ${backupsOf(asked)}`, { isBefore })
  }
  if (lsn > newest.run.end) {
    const why = newest.run.beforeHole ? ', where WAL is missing' : ''
    const what = `${text} lies behind what the archive holds, up to ${formatLsn(newest.run.end)}${why}`
    throw await unreachable(asked, what, { isBefore })
  }
  const end = await lookBack(asked.archive, asked.line, newest.run, asked.options)
  if (end.lastRecord !== null && lsn > end.lastRecord) {
    return atLastRecord(newest, end, `no whole record begins at ${text} or behind it in the archive's WAL`)
  }
  return { candidate: newest, target: ['recovery_target_lsn', text], inclusive: asked.inclusive, notes: [] }
}

/** Everything that is there is wanted, the last record included, whatever was said of the target itself. */
function atLastRecord(candidate: Candidate, { lastRecord }: LookedBack, why: string): Aim {
  if (lastRecord === null) {
    const notes = [`${why}: the recovery goes on to the end of the WAL`]
    return { candidate, target: null, inclusive: true, notes }
  }
  const text = formatLsn(lastRecord)
  const notes = [`${why}: the target is its last whole record, at ${text}`]
  return { candidate, target: ['recovery_target_lsn', text], inclusive: true, notes }
}

async function aimAtXid(asked: Asked, xid: string): Promise<Aim> {
  // pg_current_xact_id() counts on where the 32 bits of a record's number begin anew.
  const number = Number(BigInt(xid) & 0xffff_ffffn)
  const isIt = (mark: RecordMark): boolean => mark.kind !== 'restore-point' && mark.xid === number
  const target = ['recovery_target_xid', xid] as const
  return await aimAtMark(asked, target, `the end of transaction ${xid}`, isIt)
}

async function aimAtName(asked: Asked, name: string): Promise<Aim> {
  const isIt = (mark: RecordMark): boolean => mark.kind === 'restore-point' && mark.name === name
  const aim = await aimAtMark(asked, ['recovery_target_name', name], `the restore point "${name}"`, isIt)
  // PostgreSQL stops at a restore point, and never before it.
  return { ...aim, inclusive: true }
}

/** Searches behind the newest backup first, then between each one and the next. */
async function aimAtMark(
  asked: Asked,
  target: readonly [string, string],
  what: string,
  isIt: (mark: RecordMark) => boolean,
): Promise<Aim> {
  const { archive, line, candidates, options } = asked
  let left = Math.floor(searchedBytes / line.segmentBytes)
  let isPrepared = false
  for (const [at, candidate] of candidates.entries()) {
    const later = candidates[at - 1]
    const end = later?.run === candidate.run ? later.backup.finishLsn : candidate.run.end
    const search = {
      from: candidate.backup.finishLsn,
      end,
      segments: left,
      isIt: (mark: RecordMark) => {
        isPrepared ||= mark.kind !== 'restore-point' && mark.xid === null
        return isIt(mark)
      },
    }
    const { found, isAll, segments } = await findMark(archive, line, search, options)
    left -= segments
    if (found !== null) {
      const notes = [`found ${what} at ${formatLsn(found.at)}, of ${dateOf(found.time).toISOString()}`]
      return { candidate, target, inclusive: asked.inclusive, notes }
    }
    const searched = `not in the ${searchedBytes / 2 ** 30} GiB that were searched`
    if (!isAll && candidates.length > 1) {
      const hint = 'Say with --backup which backup to begin with: there may be older WAL that has it.'
      throw await unreachable(asked, `${what} is ${searched}`, { hint })
    }
    // What cannot be proved is left to PostgreSQL, which stops with an error if it does not find the target.
    const isMaybePrepared = isPrepared && target[0] === 'recovery_target_xid'
    if (!isAll || isMaybePrepared) {
      const why = isAll ? 'it may be that of a prepared transaction' : searched
      return { candidate, target, inclusive: asked.inclusive, notes: [`did not find ${what}: ${why}`] }
    }
  }
  throw await unreachable(asked, `${what} is not in the WAL behind ${backupsOf(asked)}`, {})
}

function newestOf(candidates: readonly Candidate[]): Candidate {
  const [newest] = candidates
  if (newest === undefined) throw new Error('a target is aimed at with at least one backup')
  return newest
}

function backupsOf({ candidates }: Asked): string {
  const oldest = candidates.at(-1)?.backup.name ?? ''
  return candidates.length === 1 ? oldest : `the first backup, ${oldest}`
}
