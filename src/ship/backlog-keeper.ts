/**
 * Keeps this receiver's note in the archive (archive/backlog.ts): it is there while the spool has held WAL for more than
 * ten seconds that the store has not, and gone once that is shipped.
 *
 *     unknown -> level    all that was synced a moment ago is shipped
 *             -> behind   something that was synced ten seconds ago is not
 *     level <-> behind
 *
 * The note can only hold a reader back, so no failure here stops anything: it is tried again. What a crash leaves is a
 * note that stays for too long: the next receiver of the slot, here or elsewhere, deletes it once it has shipped what
 * the note tells of.
 */
import { type BacklogNote, deleteBacklog, findBacklog, hostInNotes, putBacklog } from '../archive/backlog.ts'
import { sleep, withDeadline } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Positions } from '../spool/positions.ts'
import type { Spool } from '../spool/spool.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { earlierOf, formatLsn, type Lsn, lsnZero } from '../wal/lsn.ts'

export interface BacklogKeeperOptions {
  readonly slot: string
  /** The name of this machine, as it has it. */
  readonly host: string
  readonly spool: Spool
  readonly positions: Positions
  readonly store: ObjectStore
  readonly clock: Clock
  readonly log: Log
}

/** How long WAL may wait before a reader is told: a store that works takes it within a second or two. */
const patienceMs = 10_000
/** How often the note is written again while it stands, and how soon a request that failed is made again. */
const refreshMs = 10_000
/**
 * Another receiver of the slot may have left a note that we know nothing of. What such a note tells of comes to us from
 * the server, too, so we look after WAL was shipped, once in this time: a server that writes nothing costs no request. But
 * where there was a note, its writer may still live, and write it again: then we look until there is none.
 */
const askAgainMs = 60_000
const lookMs = 1000
/** How long the last request may hold up the end. */
const leaveMs = 5000

export class BacklogKeeper {
  readonly #options: BacklogKeeperOptions
  readonly #host: string
  #standing: 'unknown' | 'level' | 'behind' = 'unknown'
  /** What was synced at a moment, and was not all shipped then. */
  #mark: { readonly lsn: Lsn; readonly sinceMs: number } | null = null
  /** The note that is there, as far as we know; 'unreadable' is one, too. */
  #note: BacklogNote | 'unreadable' | null = null
  #askedMs = Number.NEGATIVE_INFINITY
  /** What was shipped when the note was last asked for, and whether there was one. */
  #askedAt: Lsn | null = null
  #wasThere = false
  #wroteMs = Number.NEGATIVE_INFINITY
  #failedMs = Number.NEGATIVE_INFINITY

  constructor(options: BacklogKeeperOptions) {
    this.#options = options
    this.#host = hostInNotes(options.host)
  }

  /** Looks once a second until `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(signal)
      await sleep(lookMs, signal).catch(() => undefined)
    }
  }

  /** Writes or deletes the note, if that is due. Never rejects. */
  async look(signal: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs()
    this.#measure(nowMs)
    if (nowMs - this.#failedMs < refreshMs) return
    try {
      if (this.#standing === 'behind') {
        if (nowMs - this.#wroteMs >= refreshMs) await this.#write(signal)
      } else if (this.#standing === 'level') {
        if (this.#mayHaveChanged() && nowMs - this.#askedMs >= askAgainMs) await this.#ask(signal)
        if (this.#isShipped()) await this.#delete(signal)
      }
    } catch (error) {
      if (signal.aborted) return
      this.#failedMs = nowMs
      this.#options.log.debug(`cannot keep the note of what the archive lacks: ${describe(error)}`)
    }
  }

  /** At the end, when nothing is shipped any more: the note says what is left here, or is gone. Never rejects. */
  async leave(): Promise<void> {
    const { log, positions } = this.#options
    const isAhead = positions.synced > positions.shipped
    try {
      await withDeadline(leaveMs, new AbortController().signal, tooLate, async (signal) => {
        if (isAhead) return await this.#write(signal)
        // One that came since nothing is shipped any more would stay until the next start.
        await this.#ask(signal)
        if (this.#isShipped()) await this.#delete(signal)
      })
    } catch (error) {
      if (!isAhead) return
      log.warn(`cannot leave a note of what the archive lacks: ${describe(error)}`, {
        hint: 'Before a recovery from this archive, start this receiver again: nobody else knows of the WAL in its spool.',
      })
    }
  }

  #measure(nowMs: number): void {
    const { synced, shipped } = this.#options.positions
    // Nothing is known yet: there may be WAL in the spool, or the archive may be behind the server.
    if (synced === lsnZero) return
    const mark = this.#mark
    if (shipped >= synced) {
      this.#standing = 'level'
      this.#mark = null
    } else if (mark === null || mark.lsn > synced) {
      // Where the line was left, positions go back.
      this.#mark = { lsn: synced, sinceMs: nowMs }
    } else {
      const isLate = nowMs - mark.sinceMs > patienceMs
      const isShipped = shipped >= mark.lsn
      if (isLate) this.#standing = 'behind'
      else if (isShipped) this.#standing = 'level'
      if (isShipped) this.#mark = { lsn: synced, sinceMs: nowMs }
    }
  }

  /** There is a note, and all that it tells of is in the store, or on a branch that was left. */
  #isShipped(): boolean {
    const { positions, spool } = this.#options
    if (this.#note === null) return false
    if (this.#note === 'unreadable') return this.#standing === 'level'
    const { timeline, lsn } = this.#note
    const upTo = spool.onLine(timeline)
    // A branch that was left, or one of another receiver that is further than we are.
    if (upTo === null) return timeline < (spool.end?.timeline ?? 0)
    return positions.shipped >= (upTo === 'all' ? lsn : earlierOf(upTo, lsn))
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { store, slot, clock, positions } = this.#options
    const { shipped } = positions
    try {
      this.#note = await findBacklog(store, slot, { signal })
    } catch (error) {
      if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
      this.#note = 'unreadable'
    }
    this.#askedMs = clock.monotonicMs()
    this.#askedAt = shipped
    this.#wasThere = this.#note !== null
  }

  #mayHaveChanged(): boolean {
    return this.#wasThere || this.#options.positions.shipped !== this.#askedAt
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { store, slot, spool, positions, clock, log } = this.#options
    const timeline = spool.end?.timeline
    if (timeline === undefined) return
    const note = { timeline, lsn: positions.synced, host: this.#host, time: new Date(clock.nowMs()) }
    const isNew = this.#note === null
    // Before it is written: where the answer is lost, it may be there.
    this.#note = note
    await putBacklog(store, slot, note, { signal })
    this.#wroteMs = clock.monotonicMs()
    if (isNew) log.info('the archive has a note of what it lacks', { upTo: formatLsn(note.lsn) })
  }

  async #delete(signal: AbortSignal): Promise<void> {
    const { store, slot, log } = this.#options
    await deleteBacklog(store, slot, { signal })
    this.#note = null
    this.#wroteMs = Number.NEGATIVE_INFINITY
    log.info('the note of what the archive lacked is deleted: all of it is shipped')
  }
}

function tooLate(): Error {
  return new Error(`the store did not answer within ${leaveMs / 1000} s`)
}
