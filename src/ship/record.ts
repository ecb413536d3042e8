import type { Chunk } from '../archive/tail.ts'
import type { Segment } from '../wal/segment.ts'
import type { Lane } from './plan.ts'

/** A whole segment, and what is known of it. */
export interface Whole {
  readonly segment: Segment
  readonly name: string
  readonly record: Record
}

/** What the archive has said of a segment, and when it did (monotonic). */
export interface Found {
  readonly keys: readonly string[]
  readonly atMs: number
}

/** What is known of the store's copies of one segment in the spool. */
export class Record {
  /** The segment lay in the spool when this process began: another receiver may have gone on with it since. */
  readonly isOld: boolean
  /** Under which keys the archive has all of it, before it is put; null until it was asked, and once something failed. */
  found: Found | null = null
  /** Durable in the store as a whole. */
  stored = false
  /** Stored, and its chunks are gone. */
  settled = false
  /** How often it could not be settled. */
  refusals = 0
  /** Chunks that were put or compared by this process; null until the store was asked. */
  chunks: Chunk[] | null = null
  /** The store has chunks up to here, which can be compared once as much is synced. */
  lookFromBytes = 0
  readonly busy = new Set<Lane>()

  constructor(isOld = false) {
    this.isOld = isOld
  }

  /**
   * One chunk has taken the place of several. Returns the keys of those, to be deleted; none where nothing is known of
   * the chunks any more. A crash before that leaves them beside it: a reader takes the longest, and compares.
   */
  replace(replaced: readonly Chunk[], merged: Chunk): string[] {
    if (this.chunks === null) return []
    // Chunks may overlap, and one of them may be just what the merge makes.
    const gone = replaced.map((chunk) => chunk.key).filter((key) => key !== merged.key)
    const kept = this.chunks.filter((chunk) => chunk.key !== merged.key && !gone.includes(chunk.key))
    this.chunks = [merged, ...kept].toSorted((a, b) => a.start - b.start)
    return gone
  }
}
