/** Waits until the archive has all WAL that a base backup needs: only then it can be restored. */
import type { Archive } from '../archive/archive.ts'
import { sleep } from '../kit/abort.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { historyName } from '../wal/segment.ts'
import { type Coverage, coverageOf, type NeededSegment } from './needed-wal.ts'

export interface WaitOptions {
  readonly archive: Archive
  readonly needed: readonly NeededSegment[]
  readonly line: TimelineHistory
  readonly segmentBytes: number
  readonly waitMs: number
  /** The last segment, too, has to be there as one object. */
  readonly wholeOnly: boolean
  readonly signal: AbortSignal
}

const pollMs = 1000

/** Returns whether the last segment is there as one object. Throws BACKUP_WITHOUT_WAL, or what the store refuses. */
export async function waitForWal(options: WaitOptions): Promise<{ readonly isWhole: boolean }> {
  const { signal, waitMs, needed } = options
  const startedMs = performance.now()
  let left = needed
  let firstPollMs = 50
  for (;;) {
    const { coverage, problem } = await look(options, left)
    if (coverage !== null && coverage.missing === null && (coverage.isWhole || !options.wholeOnly)) {
      if (await hasHistory(options)) return coverage
    }
    const missing = coverage?.missing ?? null
    if (missing !== null) left = left.slice(left.indexOf(missing))
    if (performance.now() - startedMs > waitMs) throw tooLate(options, missing, problem)
    await sleep(Math.min(pollMs, firstPollMs), signal)
    firstPollMs *= 2
  }
}

/** An outage is no answer: it is waited for like the WAL itself. */
async function look(
  { archive, segmentBytes, signal }: WaitOptions,
  left: readonly NeededSegment[],
): Promise<{ readonly coverage: Coverage | null; readonly problem: WalferryError | null }> {
  try {
    return { coverage: await coverageOf(archive, left, segmentBytes, { signal }), problem: null }
  } catch (error) {
    if (!isError(error) || !error.retryable) throw error
    return { coverage: null, problem: error }
  }
}

/** Without it, a recovery does not know how the timeline goes on from the one before. */
async function hasHistory({ archive, line, signal }: WaitOptions): Promise<boolean> {
  if (line.timeline === 1) return true
  return (await archive.findHistory(line.timeline, { signal })).length > 0
}

function tooLate(options: WaitOptions, missing: NeededSegment | null, problem: WalferryError | null): WalferryError {
  const { archive, needed, line, waitMs, wholeOnly } = options
  const last = needed.at(-1)?.name
  const what =
    missing !== null
      ? `${missing.bytes} bytes of segment ${missing.name}`
      : problem !== null
        ? `an answer (${describe(problem)})`
        : wholeOnly
          ? `all of segment ${last}`
          : historyName(line.timeline)
  return new WalferryError(
    'BACKUP_WITHOUT_WAL',
    `the archive at ${archive.store.url} still lacks ${what}, which the base backup needs, after ${waitMs / 1000} s`,
    {
      hint: 'Does "walferry receive" ship this server\'s WAL into this archive? Else take the backup with --with-wal.',
      fields: { segment: missing?.name ?? last },
      ...(problem === null ? {} : { cause: problem }),
    },
  )
}
