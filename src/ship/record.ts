import type { Chunk } from '../archive/tail.ts'
import type { Lane } from './plan.ts'

/** What is known of the store's copies of one segment in the spool. */
export class Record {
  /** The segment lay in the spool when this process began: another receiver may have gone on with it since. */
  readonly isOld: boolean
  /** Durable in the store as a whole. */
  stored = false
  /** Stored, and its chunks are gone. */
  settled = false
  /** Chunks that were put or compared by this process; null until the store was asked. */
  chunks: Chunk[] | null = null
  /** The store has chunks up to here, which can be compared once as much is synced. */
  lookFromBytes = 0
  readonly busy = new Set<Lane>()

  constructor(isOld = false) {
    this.isOld = isOld
  }
}
