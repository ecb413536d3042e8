/**
 * Whether a backlog is written in the event loop. As a rule that only fills the page cache, with bytes that the processor
 * still has in its own cache; a thread of the pool would have to fetch them from memory, and be woken up for them. But where
 * the disk does not keep up, the kernel makes writers wait, for as long as the disk does: then the thread pool waits, and
 * the event loop goes on answering the server and whoever asks how we are.
 */

/** A write that only reached the page cache is done sooner, also where others need the processor. */
const heldUpMs = 20
/** One that waits for the disk is seldom the last. */
const restMs = 10_000
/** A disk that has been at a sync for so long may stop writers at any moment. */
const slowSyncMs = 500

export class LoopWrites {
  #restUntilMs = 0

  /** @param syncingSinceMs when the oldest sync began that is under way; null: there is none. */
  areQuick(syncingSinceMs: number | null): boolean {
    const nowMs = performance.now()
    if (nowMs < this.#restUntilMs) return false
    return syncingSinceMs === null || nowMs - syncingSinceMs < slowSyncMs
  }

  /** Calls `write`, and tells whether the next one may follow. */
  tried(write: () => void): boolean {
    const startedMs = performance.now()
    write()
    const endedMs = performance.now()
    if (endedMs - startedMs < heldUpMs) return true
    this.#restUntilMs = endedMs + restMs
    return false
  }
}
