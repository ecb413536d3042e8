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
/** A disk that has not synced what it has by now may stop writers at any moment. */
const slowRoundMs = 500

export class LoopWrites {
  #restUntilMs = 0
  #roundBeganMs: number | null = null

  get areQuick(): boolean {
    const nowMs = performance.now()
    if (nowMs < this.#restUntilMs) return false
    return this.#roundBeganMs === null || nowMs - this.#roundBeganMs < slowRoundMs
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

  /** A round of the syncer, of which there is one at a time. */
  roundBegins(): void {
    this.#roundBeganMs = performance.now()
  }

  roundEnds(): void {
    this.#roundBeganMs = null
  }
}
