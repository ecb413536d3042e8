/**
 * What the chunks of one segment amount to, and when to merge some. Pure: a list of names in, a decision out.
 *
 * A tail is the longest run of bytes from byte 0 that chunks cover. Chunks overlap where a crash came between
 * a merge and the deletion of what it replaced, or where two receivers met; overlapping bytes must be equal, so the plan
 * names every chunk that touches the run, also those that add nothing to it.
 */
import type { Codec } from './codec-name.ts'
import { damaged } from './damaged.ts'

/** One object of a tail: the bytes [start, end) of a segment. */
export interface Chunk {
  readonly key: string
  /** The segment's name, 24 upper-case hexadecimal digits. */
  readonly segment: string
  readonly start: number
  readonly end: number
  readonly codec: Codec
}

/** A chunk of the run. Its bytes before `from` are those of the chunk before it; it adds [from, chunk.end). */
export interface RunPart {
  readonly chunk: Chunk
  readonly from: number
}

export interface TailPlan {
  /** Bytes from byte 0 that are there, 0 for none. */
  readonly bytes: number
  /** The fewest chunks that cover them, in order. An overlap reaches no further back than the part before. */
  readonly run: readonly RunPart[]
  /** Chunks that the run does not need, and whose bytes it must equal. */
  readonly covered: readonly Chunk[]
  /** Chunks behind a hole. */
  readonly unreachable: readonly Chunk[]
}

/** Throws ARCHIVE_DAMAGED for a range that no chunk can have. `chunks` are those of one segment, in any order. */
export function planTail(chunks: readonly Chunk[], segmentBytes: number): TailPlan {
  for (const chunk of chunks) {
    if (chunk.start >= chunk.end || chunk.end > segmentBytes) {
      throw damaged(chunk.key, `cannot be a part of a segment of ${segmentBytes} bytes`)
    }
  }
  const sorted = chunks.toSorted((a, b) => a.start - b.start || b.end - a.end)
  const run: RunPart[] = []
  const covered: Chunk[] = []
  let bytes = 0
  let at = 0
  for (;;) {
    // Of all that begin within the run, the one that reaches furthest; the others add nothing.
    let best: Chunk | undefined
    for (let next = sorted[at]; next !== undefined && next.start <= bytes; next = sorted[++at]) {
      const reaches = next.end > (best?.end ?? bytes)
      const useless = reaches ? best : next
      if (useless !== undefined) covered.push(useless)
      if (reaches) best = next
    }
    if (best === undefined) return { bytes, run, covered, unreachable: sorted.slice(at) }
    run.push({ chunk: best, from: bytes })
    bytes = best.end
  }
}

/** Bytes from byte 0 that the chunks of one segment cover. Throws ARCHIVE_DAMAGED as `planTail` does. */
export function coveredBytes(chunks: readonly Chunk[], segmentBytes: number): number {
  return planTail(chunks, segmentBytes).bytes
}

/** A merge: the last chunks of a tail, to be replaced by one of the bytes [from, to). */
export interface Merge {
  readonly from: number
  readonly to: number
  readonly replaces: readonly Chunk[]
}

const fewestMerged = 8 // fewer would mean more uploads, more would mean more chunks

/**
 * Which of the last chunks to merge into one, if any: from the oldest that is not larger than all behind it together,
 * provided that at least 8 are replaced. `chunks` are those of a run, in any order.
 *
 * Asked after each new chunk, this bounds both the number of chunks and the bytes written again:
 * - Where nothing is to merge, each chunk but the last 7 is larger than all behind it together, so from there backwards
 *   the sums double: never more than 7 + log2(segment size / bytes of the last 7) chunks, which is 28 for 16 MB and 34
 *   for 1 GB.
 * - A merged chunk is smaller than each chunk before it. It is merged again only when it is itself no larger than all
 *   behind it, or along with a larger one before it: either way into at least twice its size. So a byte is written
 *   again once, and then once for each doubling: at most 1 + log2(segment size / smallest merged chunk) times.
 */
export function planMerge(chunks: readonly Chunk[]): Merge | null {
  const sorted = chunks.toSorted((a, b) => a.start - b.start)
  let first: number | null = null
  let behind = 0
  for (let at = sorted.length - 1; at >= 0; at--) {
    const { start = 0, end = 0 } = sorted[at] ?? {}
    if (sorted.length - at >= fewestMerged && end - start <= behind) first = at
    behind += end - start
  }
  if (first === null) return null
  const replaces = sorted.slice(first)
  return { from: replaces[0]?.start ?? 0, to: Math.max(...replaces.map((chunk) => chunk.end)), replaces }
}
