/**
 * Base backups by a schedule, beside the receiver: one after the other, never two at once; a time that comes while one is
 * under way is passed over. One that fails is an ERROR and a metric; WAL goes on, and the next time comes.
 */
import { Cron } from 'croner'
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'

/** When the next one is due, after a moment; null for never again. */
export type Schedule = (after: Date) => Date | null

export interface Taken {
  readonly name: string
  readonly seconds: number
  readonly plainBytes: number
  readonly storedBytes: number
}

export interface ScheduledOptions {
  readonly schedule: Schedule
  readonly take: (signal: AbortSignal) => Promise<Taken>
  /** When the newest backup of the archive was completed; null if there is none. */
  readonly newest: (signal: AbortSignal) => Promise<Date | null>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** A timer holds no longer, and a clock that is set is noticed after as long. */
const longestSleepMs = 60_000

/** Reads `0 3 * * *`: minute, hour, day, month, day of the week, in the time zone of the process. Throws BAD_INPUT. */
export function parseSchedule(text: string): Schedule {
  try {
    const cron = new Cron(text, { mode: '5-part', paused: true })
    return (after) => cron.nextRun(after)
  } catch (cause) {
    throw new WalferryError('BAD_INPUT', `--backup-schedule "${text}" is no schedule`, {
      hint: 'Five fields as in a crontab: minute, hour, day, month, day of the week. "0 3 * * *" is each night at three.',
      cause,
    })
  }
}

/** Runs until `signal` aborts, upon which a backup that is under way is given up and removed. Never rejects. */
export async function runSchedule(options: ScheduledOptions, signal: AbortSignal): Promise<void> {
  const { schedule, clock, log, metrics, newest } = options
  const before = await newest(signal).catch((error: unknown) => {
    if (!signal.aborted) log.warn(`the newest base backup is not known: ${describe(error)}`)
    return null
  })
  if (before !== null) metrics.set('walferry_backup_success_time_seconds', before.getTime() / 1000)
  for (;;) {
    const due = schedule(new Date(clock.nowMs()))
    if (due === null || signal.aborted) return
    log.info('the next base backup is due', { at: due.toISOString() })
    while (clock.nowMs() < due.getTime()) {
      const waitMs = Math.min(longestSleepMs, due.getTime() - clock.nowMs())
      await sleep(waitMs, signal).catch(() => undefined)
      if (signal.aborted) return
    }
    await takeOne(options, signal)
  }
}

async function takeOne({ take, clock, log, metrics }: ScheduledOptions, signal: AbortSignal): Promise<void> {
  metrics.set('walferry_backup_running', 1)
  try {
    const { name, seconds, plainBytes, storedBytes } = await take(signal)
    metrics.set('walferry_backup_success_time_seconds', clock.nowMs() / 1000)
    metrics.set('walferry_backup_duration_seconds', seconds)
    metrics.set('walferry_backup_size_bytes', plainBytes, { kind: 'plain' })
    metrics.set('walferry_backup_size_bytes', storedBytes, { kind: 'stored' })
    log.info('the base backup is complete', { name, seconds: Math.round(seconds), plainBytes, storedBytes })
  } catch (error) {
    if (signal.aborted) {
      log.info('the base backup was given up, and what it had stored removed')
      return
    }
    metrics.set('walferry_backup_failure_time_seconds', clock.nowMs() / 1000)
    metrics.add('walferry_backup_failures_total', 1)
    const fields = isError(error) ? { code: error.code, hint: error.hint } : {}
    log.error(`the base backup failed: ${describe(error)}`, fields)
  } finally {
    metrics.set('walferry_backup_running', 0)
  }
}
