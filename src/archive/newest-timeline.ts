/**
 * Which timeline is the newest of the cluster: the one that a restore follows where nobody says which. Mostly it is the
 * one with the highest number. But an archive can hold timelines that nobody is on any more, and a cluster that was
 * restored from it and promoted may ship into it, too, where it has inherited archive_command.
 *
 * A timeline is over once there is a higher one, and everything that the archive holds of it behind the point where the
 * two part was stored before the history file of the higher one. That is so of WAL that a lost primary had sent and its
 * successor never had, whether the successor comes from that timeline or from one before it. It is not so of a cluster
 * that lives on beside its clone: of both, WAL goes on arriving. Then a person has to say which one is meant.
 */
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { forkOf, isAncestor, partingOf } from '../wal/history.ts'
import { formatLsn, type Lsn, lsnZero, plus } from '../wal/lsn.ts'
import { parseSegmentName, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import type { Coverage, TimelineCoverage } from './coverage.ts'
import { parseChunkKey, parseWalKey, tailPrefix, walFolder } from './keys.ts'

/** Whether WAL of the timeline from `from` on was stored after `than`. */
export type StoredSince = (timeline: number, from: Lsn, than: Date) => Promise<boolean>

/** The timelines that are not over, by number. None if the archive has no WAL. */
export async function newestTimelines({ timelines }: Coverage, storedSince: StoredSince): Promise<number[]> {
  const withWal = timelines.filter((one) => one.runs.length > 0)
  const newest: number[] = []
  for (const one of withWal) {
    let isOver = false
    for (const other of withWal) isOver ||= await isOverSince(one, other, storedSince)
    if (!isOver) newest.push(one.timeline)
  }
  return newest
}

async function isOverSince(one: TimelineCoverage, by: TimelineCoverage, storedSince: StoredSince): Promise<boolean> {
  if (by.timeline <= one.timeline || one.history === null || by.history === null || by.historyStored === null) {
    return false
  }
  const { at } = partingOf(one.history, by.history)
  if (at === null) return false
  if (one.newestStored === null || one.newestStored <= by.historyStored) return true
  return !(await storedSince(one.timeline, at, by.historyStored))
}

/** Asks the store: lists what the timeline has from there on, as far as the first such object. */
export function storedSinceIn(store: ObjectStore, segmentBytes: number, { signal }: CallOptions): StoredSince {
  return async (timeline, from, than) => {
    const segno = segnoOf(from, segmentBytes)
    const before = segno === 0 ? null : segmentName({ timeline, segno: segno - 1 }, segmentBytes)
    const prefix = walFolder + segmentName({ timeline, segno: 0 }, segmentBytes).slice(0, 8)
    // "z" sorts behind all that is named after the segment before.
    const after = before === null ? {} : { after: `${walFolder}${before}z` }
    for await (const { key, modified } of store.list({ prefix, ...after, signal })) {
      const object = parseWalKey(key)
      if (object?.kind === 'segment' && modified > than) return true
    }
    for await (const { key, modified } of store.list({ prefix: tailPrefix(timeline), signal })) {
      const chunk = parseChunkKey(key)
      if (chunk === null || modified <= than) continue
      const start = segmentStart(parseSegmentName(chunk.segment, segmentBytes).segno, segmentBytes)
      if (plus(start, chunk.end) > from) return true
    }
    return false
  }
}

/**
 * The one timeline that is not over. Throws TIMELINE_AMBIGUOUS, with the tree of all, if there are several, and
 * TARGET_UNREACHABLE if there is no WAL.
 */
export function onlyTimeline(newest: readonly number[], coverage: Coverage, storeUrl: string): number {
  const [only, other] = newest
  if (only === undefined) {
    throw new WalferryError('TARGET_UNREACHABLE', `${storeUrl} has no WAL`, {
      hint: 'Let walferry receive ship to it, or take a backup with its WAL; or is it another archive that is meant?',
    })
  }
  if (other === undefined) return only
  throw new WalferryError(
    'TIMELINE_AMBIGUOUS',
    `WAL of more than one newest timeline is in the archive: ${newest.join(', ')}\n${drawTree(coverage).join('\n')}`,
    {
      fields: { timelines: newest },
      hint:
        'Say which one is meant with --target-timeline. Where one is that of a copy that was promoted, take its ' +
        'archive_command away, and give it an archive of its own.',
    },
  )
}

/** The timelines with WAL as a tree, a line each: where each one began, and how far it reaches. */
export function drawTree({ timelines }: Coverage): string[] {
  const withWal = timelines.filter((one) => one.runs.length > 0)
  const draw = (parent: number | null, indent: string): string[] =>
    withWal
      .filter((one) => nearestParent(one, withWal) === parent)
      .flatMap((one) => [indent + describe(one)].concat(draw(one.timeline, `${indent}  `)))
  return draw(null, '  ')
}

function describe({ timeline, history, runs, newestStored }: TimelineCoverage): string {
  const fork = history === null ? null : forkOf(history)
  const began = fork === null ? '' : `, from ${formatLsn(fork.switchPoint)}`
  const stored = newestStored === null ? '' : `, last stored ${newestStored.toISOString()}`
  return `timeline ${timeline}${began} up to ${formatLsn(runs.at(-1)?.end ?? lsnZero)}${stored}`
}

/** The last of its ancestors that has WAL here. */
function nearestParent({ history }: TimelineCoverage, among: readonly TimelineCoverage[]): number | null {
  if (history === null) return null
  return among.findLast((one) => isAncestor(history, one.timeline))?.timeline ?? null
}
