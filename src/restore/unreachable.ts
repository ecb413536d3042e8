/** A target that the archive cannot bring a database to: refused with the nearest moments that it can. */
import type { Backup } from '../archive/backups.ts'
import { lookBack } from '../archive/look-at-wal.ts'
import type { RecoveryWindow } from '../archive/windows.ts'
import { WalferryError } from '../kit/errors.ts'
import { formatLsn } from '../wal/lsn.ts'
import { formatTimestamp } from '../wal/timestamp.ts'
import type { Asked } from './aim.ts'

export interface RefusalDetails {
  /** Whether a backup ended before the target, where that is known. */
  readonly isBefore?: (backup: Backup) => boolean
  /** What else can be done. */
  readonly hint?: string
}

/** `what` says why, in words. Reads the last segments of two windows at most. */
export async function unreachable(asked: Asked, what: string, details: RefusalDetails): Promise<WalferryError> {
  const moments: string[] = []
  for (const window of nearest(asked.windows, details.isBefore)) moments.push(await describe(asked, window))
  const reachable = `On timeline ${asked.line.timeline} the archive reaches ${moments.join('; and ')}.`
  return new WalferryError('TARGET_UNREACHABLE', what, {
    fields: { timeline: asked.line.timeline },
    hint: details.hint === undefined ? reachable : `${reachable} ${details.hint}`,
  })
}

/** The window before the target and the one after it; of an unknown one, the last two. */
function nearest(windows: readonly RecoveryWindow[], isBefore: RefusalDetails['isBefore']): readonly RecoveryWindow[] {
  if (isBefore === undefined) return windows.slice(-2)
  const after = windows.findIndex(({ backups }) => !isBefore(backups[0]))
  return after === -1 ? windows.slice(-1) : windows.slice(Math.max(0, after - 1), after + 1)
}

async function describe({ archive, line, options }: Asked, { backups, run }: RecoveryWindow): Promise<string> {
  const [first] = backups
  const { lastCommit } = await lookBack(archive, line, { from: first.finishLsn, end: run.end }, options)
  const commit = lastCommit === null ? 'no commit' : `the last commit of ${formatTimestamp(lastCommit)}`
  const when = (first.finishTime ?? first.modified).toISOString()
  return `from ${when} (${formatLsn(first.finishLsn)}, the end of ${first.name}) to ${formatLsn(run.end)}, with ${commit} in it`
}
