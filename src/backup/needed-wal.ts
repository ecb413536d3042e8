/** Which WAL a base backup needs, and whether an archive has it. */
import type { Archive } from '../archive/archive.ts'
import { parseWalKey, segmentKey, walFolder } from '../archive/keys.ts'
import { coveredBytes } from '../archive/tail.ts'
import type { CallOptions } from '../store/object-store.ts'
import { type TimelineHistory, timelineAt } from '../wal/history.ts'
import { asLsn, type Lsn } from '../wal/lsn.ts'
import { offsetIn, segmentName, segnoBefore, segnoOf } from '../wal/segment.ts'

/** A segment, and how many bytes of it, from its first one, are needed. */
export interface NeededSegment {
  readonly name: string
  readonly bytes: number
}

/**
 * The segments that hold the bytes from `from` to `to`, each on the timeline on which a recovery along `line` looks for
 * it: where timelines change within a segment, the new one's has the bytes of both.
 */
export function neededSegments(from: Lsn, to: Lsn, line: TimelineHistory, segmentBytes: number): NeededSegment[] {
  const last = Math.max(segnoOf(from, segmentBytes), segnoBefore(to, segmentBytes))
  const needed: NeededSegment[] = []
  for (let segno = segnoOf(from, segmentBytes); segno <= last; segno++) {
    const end = asLsn(BigInt(segno + 1) * BigInt(segmentBytes))
    const upTo = end < to ? end : to
    const timeline = timelineAt(line, asLsn(upTo - 1n))
    const bytes = upTo === end ? segmentBytes : offsetIn(upTo, segmentBytes)
    needed.push({ name: segmentName({ timeline, segno }, segmentBytes), bytes })
  }
  return needed
}

/** How far an archive has what is needed. */
export interface Coverage {
  /** The first segment that is not there, or not far enough; null if there is none. */
  readonly missing: NeededSegment | null
  /** Whether the last one is there as one object, and not only as a tail. */
  readonly isWhole: boolean
}

/** Looks from `needed[0]` on, and no further than the first that is missing. One request for each 1000 segments. */
export async function coverageOf(
  archive: Archive,
  needed: readonly NeededSegment[],
  segmentBytes: number,
  options: CallOptions,
): Promise<Coverage> {
  let whole: ReadonlySet<string> = new Set()
  let timeline = ''
  for (const [at, { name, bytes }] of needed.entries()) {
    if (name.slice(0, 8) !== timeline) {
      timeline = name.slice(0, 8)
      whole = await wholeSegments(archive, name, needed.at(-1)?.name ?? name, options)
    }
    if (whole.has(name)) continue
    const covered = coveredBytes(await archive.listChunks(name, options), segmentBytes)
    if (covered < bytes) return { missing: needed[at] ?? null, isWhole: false }
  }
  return { missing: null, isWhole: whole.has(needed.at(-1)?.name ?? '') }
}

/** The names from `from` to `to` that are there as one object, of the timeline of `from`. */
async function wholeSegments(
  archive: Archive,
  from: string,
  to: string,
  { signal }: CallOptions,
): Promise<Set<string>> {
  const found = new Set<string>()
  const prefix = walFolder + from.slice(0, 8)
  // Everything that is named after a segment sorts behind its bare name; so the first one itself is asked for.
  if ((await archive.findSegment(from, { signal })).length > 0) found.add(from)
  for await (const { key } of archive.store.list({ prefix, after: segmentKey(from, 'none'), signal })) {
    const object = parseWalKey(key)
    if (object === null || object.kind === 'history') continue
    if (object.segment > to) break
    if (object.kind === 'segment') found.add(object.segment)
  }
  return found
}
