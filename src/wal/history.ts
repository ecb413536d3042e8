/**
 * Timeline history files, `00000003.history`: how timeline 3 came about. One line for each ancestor, oldest first, with
 * the position where the line left it, and why (src/backend/access/transam/timeline.c):
 *
 *     1	0/A000198	before 2000-01-01 00:00:00+00
 *
 *     2	0/1E000078	no recovery target specified
 *
 * Empty lines and those that begin with # say nothing. Timeline 1 has no file. Numbers may be skipped, and a switch
 * position may lie before the one above it: then nothing of that timeline was used.
 */
import { WalferryError } from '../kit/errors.ts'
import { type Lsn, lsnZero, parseLsn } from './lsn.ts'
import { historyName, offsetIn, segnoOf } from './segment.ts'

/** A timeline that the line has left. */
export interface Ancestor {
  readonly timeline: number
  /** The line's first byte that is not on this timeline. */
  readonly switchPoint: Lsn
  readonly reason: string
}

export interface TimelineHistory {
  readonly timeline: number
  /** Oldest first, the parent last; empty for timeline 1. */
  readonly ancestors: readonly Ancestor[]
}

export const firstTimeline: TimelineHistory = { timeline: 1, ancestors: [] }

/** Reads the content of `timeline`'s history file. Throws ARCHIVE_DAMAGED. */
export function parseHistory(timeline: number, content: Uint8Array | string): TimelineHistory {
  const text = typeof content === 'string' ? content : new TextDecoder().decode(content)
  const ancestors: Ancestor[] = []
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const ancestor = parseLine(timeline, line)
    const before = ancestors.at(-1)?.timeline ?? 0
    if (ancestor.timeline <= before) throw damaged(timeline, `timeline ${ancestor.timeline} follows ${before}`)
    ancestors.push(ancestor)
  }
  const parent = ancestors.at(-1)
  // An empty file must not pass for "no parents": the server would look for all WAL on the new timeline.
  if (parent === undefined) throw damaged(timeline, 'it names no parent')
  if (parent.timeline >= timeline) throw damaged(timeline, `the parent, ${parent.timeline}, is not an earlier timeline`)
  return { timeline, ancestors }
}

function parseLine(timeline: number, line: string): Ancestor {
  const match = /^\s*(\d{1,10})\s+([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?:\s+(.*?))?\s*$/.exec(line)
  const number = Number(match?.[1])
  if (match === null || number > 0xffffffff) throw damaged(timeline, `"${line.slice(0, 200)}" is no line of one`)
  return { timeline: number, switchPoint: parseLsn(match[2] ?? ''), reason: match[3] ?? '' }
}

function damaged(timeline: number, what: string): WalferryError {
  return new WalferryError('ARCHIVE_DAMAGED', `${historyName(timeline)} is not a timeline history file: ${what}`, {
    fields: { timeline },
    hint: 'A good copy lies in the pg_wal of every server that is on this timeline.',
  })
}

/** True if `timeline` is the history's own, or one that it has left. */
export function isOnLine(history: TimelineHistory, timeline: number): boolean {
  return timeline === history.timeline || isAncestor(history, timeline)
}

/** True if the line has left `timeline`. A timeline is not its own ancestor. */
export function isAncestor(history: TimelineHistory, timeline: number): boolean {
  return switchPointOf(history, timeline) !== null
}

/** Where the line leaves `timeline`; null if it never does, or was never on it. */
export function switchPointOf(history: TimelineHistory, timeline: number): Lsn | null {
  return history.ancestors.find((ancestor) => ancestor.timeline === timeline)?.switchPoint ?? null
}

/**
 * Where the line leaves `timeline` for good: a later switch may lie before the one that left it, and then what is
 * between the two is on no timeline of the line. Null if it never leaves it, or was never on it.
 */
export function leavesAt(history: TimelineHistory, timeline: number): Lsn | null {
  const from = history.ancestors.findIndex((ancestor) => ancestor.timeline === timeline)
  if (from === -1) return null
  return history.ancestors.slice(from).reduce<Lsn | null>((end, { switchPoint }) => earlierEnd(end, switchPoint), null)
}

/** Where the line's own timeline begins, and on which one it lay before; null for a timeline without ancestors. */
export function forkOf(history: TimelineHistory): Ancestor | null {
  return history.ancestors.at(-1) ?? null
}

/** Bytes at the beginning of a segment that lie before a fork in it; 0 where the fork is in another one, or there is none. */
export function bytesBeforeFork(fork: Lsn | null, segno: number, segmentBytes: number): number {
  return fork === null || segnoOf(fork, segmentBytes) !== segno ? 0 : offsetIn(fork, segmentBytes)
}

/** The timeline that holds the byte at `position` (tliOfPointInHistory). */
export function timelineAt(history: TimelineHistory, position: Lsn): number {
  for (let n = history.ancestors.length; n > 0; n--) {
    const before = history.ancestors[n - 1]
    if (before !== undefined && before.switchPoint <= position) {
      return history.ancestors[n]?.timeline ?? history.timeline
    }
  }
  return history.ancestors[0]?.timeline ?? history.timeline
}

/** Where two lines part. */
export interface Parting {
  /** The last timeline that both were on; null if not even the first one is common. */
  readonly timeline: number | null
  /** The first position at which they may differ; null if they are equal. */
  readonly at: Lsn | null
}

/** Compares two lines of one system. Equal numbers do not make equal timelines: two servers can both choose 2. */
export function partingOf(a: TimelineHistory, b: TimelineHistory): Parting {
  let timeline: number | null = null
  for (let n = 0; ; n++) {
    const ours = stretch(a, n)
    const theirs = stretch(b, n)
    if (ours === null || theirs === null || ours.timeline !== theirs.timeline) {
      // The two left the last common timeline at the same point, for different children.
      return { timeline, at: stretch(a, n - 1)?.end ?? lsnZero }
    }
    timeline = ours.timeline
    if (ours.end !== theirs.end) return { timeline, at: earlierEnd(ours.end, theirs.end) }
    if (ours.end === null) return { timeline, at: null }
  }
}

interface Stretch {
  readonly timeline: number
  readonly end: Lsn | null
}

/** The line's `n`-th timeline; its last one has no end. */
function stretch(history: TimelineHistory, n: number): Stretch | null {
  const ancestor = history.ancestors[n]
  if (ancestor !== undefined) return { timeline: ancestor.timeline, end: ancestor.switchPoint }
  return n === history.ancestors.length ? { timeline: history.timeline, end: null } : null
}

/** null: it has no end. */
function earlierEnd(a: Lsn | null, b: Lsn | null): Lsn | null {
  if (a === null) return b
  return b === null || a < b ? a : b
}
