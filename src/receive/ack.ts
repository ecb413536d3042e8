/**
 * Which position is reported to the server as flushed.
 *
 * - `spool`: what is synced here.
 * - `store`: what is shipped. The server frees no WAL that the store lacks, and a synchronous commit waits for the store.
 *
 * With `store` two things would hang the server, so nothing is reported then (0/0: a standby that is not synchronous;
 * the slot stays where it is):
 * - it shuts down, and waits until all that was sent is flushed, while the store is away. It shows that by asking for a
 *   reply thousands of times a second (src/backend/replication/walsender.c, WalSndDone);
 * - shipping has stood still for too long. Commits that wait for one of several standbys can go on with another one.
 */
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { Positions } from '../spool/positions.ts'
import { formatLsn, type Lsn, lsnZero, earlierOf } from '../wal/lsn.ts'

export interface AckOptions {
  readonly ack: 'spool' | 'store'
  /** How long shipping may stand still before nothing is reported. */
  readonly timeoutMs: number
  readonly positions: Positions
  readonly clock: Clock
  readonly log: Log
}

/** A running server asks once or twice in half of wal_sender_timeout; one that shuts down, 20,000 times a second. */
const floodRequests = 20
const floodMs = 1000

export class Ack {
  readonly #options: AckOptions
  #isShuttingDown = false
  #requests = 0
  #requestsSinceMs = 0
  #shipped: Lsn = lsnZero
  #stillSinceMs: number
  #isStuck = false

  constructor(options: AckOptions) {
    this.#options = options
    this.#stillSinceMs = options.clock.monotonicMs()
  }

  /** Whether what is reported moves with the store, and not with our own disk. */
  get isOfStore(): boolean {
    return this.#options.ack === 'store'
  }

  /** What to report, of what this stream has synced. */
  flushed(synced: Lsn): Lsn {
    if (this.#options.ack === 'spool') return synced
    const shipped = earlierOf(this.#options.positions.shipped, synced)
    this.#look(shipped, synced)
    return this.#isShuttingDown || this.#isStuck ? lsnZero : shipped
  }

  /** The server asked for a reply. `hasAll`: everything that it has is written here. */
  replyRequested(hasAll: boolean): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (!hasAll || nowMs - this.#requestsSinceMs > floodMs) {
      this.#requests = 0
      this.#requestsSinceMs = nowMs
    }
    if (++this.#requests > floodRequests) this.#isShuttingDown = true
  }

  #look(shipped: Lsn, synced: Lsn): void {
    const { clock, log, timeoutMs } = this.#options
    const nowMs = clock.monotonicMs()
    if (shipped !== this.#shipped || shipped >= synced) {
      if (this.#isStuck) log.info('what is shipped is acknowledged again', { shipped: formatLsn(shipped) })
      this.#shipped = shipped
      this.#stillSinceMs = nowMs
      this.#isStuck = false
    } else if (!this.#isStuck && nowMs - this.#stillSinceMs >= timeoutMs) {
      this.#isStuck = true
      log.error(`nothing was shipped for ${Math.round(timeoutMs / 1000)} s, so nothing is acknowledged any more`, {
        shipped: formatLsn(shipped),
        synced: formatLsn(synced),
        hint: 'Commits that wait for this receiver alone hang until the store takes WAL again: see /readyz.',
      })
    }
  }
}
