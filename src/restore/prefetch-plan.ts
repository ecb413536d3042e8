/** Which segments to fetch ahead, and which to drop: decided from what was asked for last and from what is there. */
import { isSegmentName, parseSegmentName, segmentName } from '../wal/segment.ts'

export interface PrefetchState {
  /** The segment that the server has asked for last. */
  readonly asked: string
  /** Segments that wait to be served. */
  readonly kept: readonly string[]
  readonly underWay: readonly string[]
  /** Could not be had since `asked` was: the archive ends there, or something is wrong, which is not ours to tell. */
  readonly without: string | null
}

export interface PrefetchLimits {
  readonly segmentBytes: number
  /** How many segments to keep, those under way included. */
  readonly segments: number
  /** How many to fetch at once. */
  readonly parallel: number
}

export interface PrefetchPlan {
  readonly fetch: readonly string[]
  readonly drop: readonly string[]
}

/**
 * The next segments of the timeline, in order. What lies behind the one that was asked for last, too far ahead of it, or on
 * another timeline is dropped: the server has gone elsewhere.
 */
export function planPrefetch(state: PrefetchState, limits: PrefetchLimits): PrefetchPlan {
  const wanted = namesAfter(state.asked, limits)
  const reachable = state.without === null ? wanted : wanted.filter((name) => name < (state.without ?? ''))
  const missing = reachable.filter((name) => !state.kept.includes(name) && !state.underWay.includes(name))
  // What is under way for nothing takes its room until it has ended.
  const room = limits.segments - state.kept.filter((name) => wanted.includes(name)).length - state.underWay.length
  const free = Math.min(room, limits.parallel - state.underWay.length)
  return { fetch: missing.slice(0, Math.max(0, free)), drop: state.kept.filter((name) => !wanted.includes(name)) }
}

/**
 * The segment that was asked for last. Nobody tells what the script has served: those files are gone.
 * @param told what was served without a prefetched file since; null for nothing.
 * @param gone prefetched files that were taken since.
 */
export function newestRequest(asked: string, told: string | null, gone: readonly string[]): string {
  const from = told !== null && isSegmentName(told) ? told : asked
  return gone.filter((name) => name.slice(0, 8) === from.slice(0, 8)).reduce((a, b) => (a > b ? a : b), from)
}

/** The segment behind `name` on its timeline. */
export function nameAfter(name: string, segmentBytes: number): string {
  const { timeline, segno } = parseSegmentName(name, segmentBytes)
  return segmentName({ timeline, segno: segno + 1 }, segmentBytes)
}

/** How many segments fit: by the option, by a fixed bound, and by what the disk can spare. */
export function segmentsAhead(segments: number, segmentBytes: number, freeBytes: number): number {
  return Math.min(segments, Math.floor(Math.min(mostBytes, freeBytes / shareOfDisk) / segmentBytes))
}

const mostBytes = 1024 * 1024 * 1024
const shareOfDisk = 4 // a full pg_wal stops the server

function namesAfter(name: string, { segmentBytes, segments }: PrefetchLimits): string[] {
  const names: string[] = []
  for (let next = name; names.length < segments; ) {
    next = nameAfter(next, segmentBytes)
    names.push(next)
  }
  return names
}
