/**
 * Which backup a restore begins with, and which settings lead the server from there to the target.
 *
 * PostgreSQL finds out that it cannot reach a target only at the end of a recovery, after hours perhaps, and stops with
 * an error. So the target is looked for in the archive first, and one that lies outside is refused with what can be
 * reached instead. What PostgreSQL refuses though the archive holds it, a target behind the last commit or the last
 * whole record, becomes that record's position.
 */
import type { Archive } from '../archive/archive.ts'
import type { Backup } from '../archive/backups.ts'
import { type Line, type LineRun, lineOf } from '../archive/line.ts'
import { onlyTimeline } from '../archive/newest-timeline.ts'
import { type Survey, surveyArchive } from '../archive/survey.ts'
import { standingOf, windowsOf } from '../archive/windows.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import { formatLsn, lsnZero } from '../wal/lsn.ts'
import { aimAt, type Asked } from './aim.ts'
import type { RestorePlan, RestoreRequest } from './restore-plan.ts'

/** The first major version that reads ahead of what it replays. */
const firstReadingAhead = 150_000

/**
 * Costs what `surveyArchive` does, and a few segments; for a transaction or a restore point, the WAL up to it. Throws
 * BACKUP_MISSING, TARGET_UNREACHABLE, TIMELINE_AMBIGUOUS, ARCHIVE_FOREIGN and ARCHIVE_DAMAGED.
 */
export async function planRestore(
  archive: Archive,
  request: RestoreRequest,
  options: CallOptions,
): Promise<RestorePlan> {
  const survey = await surveyArchive(archive, options)
  refuseDamaged(request, survey)
  const line = chooseLine(archive, request, survey)
  const windows = windowsOf(line, survey.backups)
  const candidates = windows
    .flatMap(({ run, backups }) => backups.map((backup) => ({ backup, run })))
    .filter(({ backup }) => request.backup === null || backup.name === request.backup)
    .toReversed()
  if (candidates.length === 0) throw noBackup(archive, request, line, survey.backups)
  const asked: Asked = {
    archive,
    line,
    windows,
    candidates,
    inclusive: request.inclusive,
    newestStored: survey.coverage.timelines.find((one) => one.timeline === line.timeline)?.newestStored ?? null,
    options,
  }
  const { candidate, target, inclusive, notes } = await aimAt(asked, request.target)
  const { backup, run } = candidate
  return {
    backup,
    settings: [
      ['recovery_target_timeline', timelineSetting(request, line)],
      ...(target === null ? [] : [target]),
      ...(target === null || inclusive ? [] : [['recovery_target_inclusive', 'off'] as const]),
      ...(target === null ? [] : [['recovery_target_action', request.action] as const]),
      ...readingAhead(backup, run),
    ],
    notes: [...passedOver(request, line, survey.backups, backup), ...notes, ...aboutHole(line, run)],
  }
}

/** A damaged backup may be the one that suits best, unless another one is named. */
function refuseDamaged(request: RestoreRequest, { backups, damaged }: Survey): void {
  const inTheWay = damaged.find(({ name }) => request.backup === null || request.backup === name)
  if (inTheWay === undefined) return
  const others = backups.map(({ name }) => name).join(', ')
  throw new WalferryError('ARCHIVE_DAMAGED', inTheWay.error.message, {
    fields: { backup: inTheWay.name },
    cause: inTheWay.error,
    hint: others === '' ? 'There is no other backup.' : `Others can be read; name one with --backup: ${others}.`,
  })
}

function chooseLine(archive: Archive, request: RestoreRequest, { coverage, newest }: Survey): Line {
  const timeline = request.timeline === 'latest' ? onlyTimeline(newest, coverage, archive.store.url) : request.timeline
  const line = lineOf(coverage, timeline)
  if (line !== null) return line
  const known = coverage.timelines.filter((one) => one.newest !== null).map((one) => one.timeline)
  throw new WalferryError('TARGET_UNREACHABLE', `the archive has no WAL of timeline ${timeline}`, {
    fields: { timeline, known },
    hint: `Timelines with WAL: ${known.join(', ') || 'none'}.`,
  })
}

/** To a timeline without a history file the server cannot be told to go, but it stays on the one that it starts on. */
function timelineSetting({ standby }: RestoreRequest, { timeline, isHistoryKnown }: Line): string {
  if (standby) return 'latest'
  return isHistoryKnown ? String(timeline) : 'current'
}

/** Reading ahead, the server would ask for what lies in the hole before it has replayed what lies before it. */
function readingAhead(backup: Backup, run: LineRun): (readonly [string, string])[] {
  return run.beforeHole && backup.serverVersion >= firstReadingAhead ? [['recovery_prefetch', 'off']] : []
}

function aboutHole(line: Line, run: LineRun): string[] {
  if (!run.beforeHole) return []
  const next = line.runs.find(({ from }) => from > run.end)
  const upTo = next === undefined ? '' : `, up to ${formatLsn(next.from)}`
  return [`WAL is missing from ${formatLsn(run.end)} on${upTo}: what lies behind cannot be reached from this backup`]
}

/** Newer backups than the one chosen that were left out for what they are, and not for a target. */
function passedOver(request: RestoreRequest, line: Line, backups: readonly Backup[], chosen: Backup): string[] {
  if (request.backup !== null || (request.target !== null && request.target.kind !== 'immediate')) return []
  return backups
    .filter((one) => one.finishLsn > chosen.finishLsn && standingOf(line, one) !== 'usable')
    .map((one) => `${one.name} was passed over: ${whyNot(line, one)}`)
}

function noBackup(archive: Archive, request: RestoreRequest, line: Line, backups: readonly Backup[]): WalferryError {
  const { url } = archive.store
  if (request.backup === null) {
    const reasons = backups.map((one) => `${one.name}: ${whyNot(line, one)}`)
    const what = backups.length === 0 ? '' : `, of ${backups.length}, that leads to timeline ${line.timeline}`
    return new WalferryError('BACKUP_MISSING', `there is no base backup in ${url}${what}`, {
      hint: reasons.length === 0 ? 'Take one with walferry backup.' : `${reasons.join('; ')}.`,
    })
  }
  const named = backups.find((one) => one.name === request.backup)
  const known = backups.map((one) => one.name).join(', ')
  if (named === undefined) {
    return new WalferryError('BACKUP_MISSING', `there is no backup ${request.backup} in ${url}`, {
      hint: known === '' ? 'There is none at all: take one with walferry backup.' : `There are ${known}.`,
    })
  }
  return new WalferryError('BACKUP_MISSING', `${named.name} cannot be restored: ${whyNot(line, named)}`, {
    fields: { backup: named.name, timeline: line.timeline },
    hint: 'walferry list shows which backups can be, and how far each one leads.',
  })
}

function whyNot(line: Line, backup: Backup): string {
  switch (standingOf(line, backup)) {
    case 'delta':
      return `it holds only what has changed since ${backup.deltaFrom ?? 'another one'}: restore it with wal-g backup-fetch`
    case 'other line':
      return `it ended at ${formatLsn(backup.finishLsn)} on timeline ${backup.stopTimeline ?? backup.timeline}, from where nothing leads to timeline ${line.timeline}`
    case 'no wal':
      return `not all WAL from its start at ${formatLsn(backup.startLsn)} to its end at ${formatLsn(backup.finishLsn)} is in the archive`
    case 'usable':
      return `it leads to ${formatLsn(line.runs.at(-1)?.end ?? lsnZero)}`
  }
}
