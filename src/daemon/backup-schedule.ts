/**
 * Base backups by a schedule, beside the receiver: one after the other, never two at once; a time that comes while one is
 * under way is passed over. One that fails is an ERROR, and goes on record; WAL goes on, and the next time comes.
 */
import { Cron } from 'croner'
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { BackupRecord, Taken } from './backup-record.ts'

/** When the next one is due, after a moment; null for never again. */
export type Schedule = (after: Date) => Date | null

export interface ScheduledOptions {
  readonly schedule: Schedule
  readonly take: (signal: AbortSignal) => Promise<Taken>
  readonly clock: Clock
  readonly log: Log
  readonly record: BackupRecord
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
  const { schedule, clock, log } = options
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

async function takeOne({ take, log, record }: ScheduledOptions, signal: AbortSignal): Promise<void> {
  record.begun()
  try {
    const taken = await take(signal)
    record.succeeded(taken)
    const { name, seconds, plainBytes, storedBytes } = taken
    log.info('the base backup is complete', { name, seconds: Math.round(seconds), plainBytes, storedBytes })
  } catch (error) {
    if (signal.aborted) {
      log.info('the base backup was given up, and what it had stored removed')
      return
    }
    record.failed()
    const fields = isError(error) ? { code: error.code, hint: error.hint } : {}
    log.error(`the base backup failed: ${describe(error)}`, fields)
  } finally {
    record.ended()
  }
}
