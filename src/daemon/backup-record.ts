/**
 * What is known of the archive's base backups: those of the schedule as they happen, those of others by looking.
 *
 * It is looked at the start, and later at most every five minutes, while there is none every minute, and only if WAL was
 * shipped since: an archive in which nothing happens costs no requests. That a backup was deleted is seen in the same way, or
 * by whoever lists all of them.
 */
import type { BackupPlace, NewestBackup } from '../archive/backups.ts'
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'

export interface Taken extends BackupPlace {
  readonly name: string
  readonly seconds: number
  readonly plainBytes: number
  readonly storedBytes: number
}

/** All backups of the archive, as a look at it has found them. */
export interface ListedBackups {
  /** That which was completed last, of those that can be read. */
  readonly newest: NewestBackup | null
  /** Of all, also of those that cannot be read. */
  readonly names: ReadonlySet<string>
}

export interface BackupRecordOptions {
  /** The newest backup of the archive; null if there is none. `known`: of that one nothing need be asked again. */
  readonly newest: (known: NewestBackup | null, signal: AbortSignal) => Promise<NewestBackup | null>
  /** Changes whenever more WAL is in the store. */
  readonly shipped: () => unknown
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

const everyMs = 300_000
/** After a look that failed, or found none: the first one is waited for. */
const againMs = 60_000

export class BackupRecord {
  readonly #options: BackupRecordOptions
  #isRunning = false
  #newest: NewestBackup | 'none' | null = null
  #lastFailure: Date | null = null
  /** That it could not be looked. */
  #isTold = false

  constructor(options: BackupRecordOptions) {
    this.#options = options
  }

  /** One of the schedule is under way. */
  get isRunning(): boolean {
    return this.#isRunning
  }

  /** The newest, by whomever; null while that is not known. */
  get newest(): NewestBackup | 'none' | null {
    return this.#newest
  }

  /** When it was completed. */
  get lastSuccess(): Date | 'none' | null {
    const newest = this.#newest
    return newest === null || newest === 'none' ? newest : newest.completed
  }

  /** Of the schedule. */
  get lastFailure(): Date | null {
    return this.#lastFailure
  }

  /** Somebody has listed all backups; `before` is what was known as the newest when that began. */
  listed({ newest, names }: ListedBackups, before: NewestBackup | 'none' | null): void {
    const known = this.#backup
    // One that was completed meanwhile may not have been seen, so only of what was known before a listing says that it is gone.
    const isGone = known !== null && known === before && !names.has(known.name)
    if (isGone) this.#note(newest ?? 'none')
    else if (newest !== null && (known === null || known.completed < newest.completed)) this.#note(newest)
  }

  /** Another receiver ships: whether WAL is missing behind the newest backup is to be looked at anew. */
  othersShip(): void {
    const known = this.#backup
    if (known !== null) this.#newest = { ...known, place: null }
  }

  begun(): void {
    this.#isRunning = true
    this.#options.metrics.set('walferry_backup_running', 1)
  }

  succeeded(taken: Taken): void {
    const { metrics, clock } = this.#options
    const { name, seconds, plainBytes, storedBytes } = taken
    this.#note({ name, completed: new Date(clock.nowMs()), place: taken })
    metrics.set('walferry_backup_duration_seconds', seconds)
    metrics.set('walferry_backup_size_bytes', plainBytes, { kind: 'plain' })
    metrics.set('walferry_backup_size_bytes', storedBytes, { kind: 'stored' })
  }

  failed(): void {
    const { metrics, clock } = this.#options
    this.#lastFailure = new Date(clock.nowMs())
    metrics.set('walferry_backup_failure_time_seconds', clock.nowMs() / 1000)
    metrics.add('walferry_backup_failures_total', 1)
  }

  /** However it ended. */
  ended(): void {
    this.#isRunning = false
    this.#options.metrics.set('walferry_backup_running', 0)
  }

  /** Looks until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { shipped } = this.#options
    for (let seen: unknown = null; !signal.aborted; ) {
      const now = shipped()
      const isDone = now === seen || (await this.#look(signal))
      if (isDone) seen = now
      await sleep(isDone && this.#newest !== 'none' ? everyMs : againMs, signal).catch(() => undefined)
    }
  }

  async #look(signal: AbortSignal): Promise<boolean> {
    const { newest, log } = this.#options
    const before = this.#newest
    try {
      const found = await newest(this.#backup, signal)
      // One of the schedule that was completed meanwhile may not have been seen.
      if (this.#newest === before) this.#note(found ?? 'none')
      this.#isTold = false
      return true
    } catch (error) {
      if (!signal.aborted && !this.#isTold) log.warn(`the newest base backup is not known: ${describe(error)}`)
      this.#isTold = true
      return false
    }
  }

  get #backup(): NewestBackup | null {
    return this.#newest === 'none' ? null : this.#newest
  }

  #note(newest: NewestBackup | 'none'): void {
    this.#newest = newest
    const seconds = newest === 'none' ? 0 : newest.completed.getTime() / 1000
    this.#options.metrics.set('walferry_backup_success_time_seconds', seconds)
  }
}
