/**
 * `walferry fetch NAME DEST`: starts with every segment of a recovery, so it loads nothing that it does not use.
 */
import type { Archive } from '../archive/archive.ts'
import { describe, type ErrorCode, isError } from '../kit/errors.ts'
import { isStandbyBeside } from '../restore/beside.ts'
import { absentCode, exitCodeOf } from '../restore/exit-codes.ts'
import { fetchFile } from '../restore/fetch.ts'
import { noteUnanswered, unansweredBefore } from '../restore/unanswered.ts'
import { readFetchArguments } from './fetch-arguments.ts'
import { openArchiveToFetch } from './open-store.ts'
import { report } from './report.ts'

const retryForMs = 60_000
/** A standby asks again anyway, and meanwhile it cannot be promoted or look into its own pg_wal. */
const standbyRetryForMs = 5000
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs `fetch`, tells what happened on standard error, and returns the exit code for bin/walferry. */
export async function runFetch(args: readonly string[]): Promise<number> {
  const stopped = new StopSignals()
  let debug = false
  let absentInstead: readonly ErrorCode[] = []
  let archive: Archive | null = null
  let asked: { readonly name: string; readonly dest: string } | null = null
  try {
    const { name, dest, config } = await readFetchArguments(args)
    asked = { name, dest }
    debug = config['log-level'] === 'debug'
    const standby = config.standby ?? (await isStandbyBeside(dest))
    absentInstead = absentFor(standby, config['on-outage'])
    const unanswered = await unansweredBefore(asked)
    if (unanswered !== null) {
      say(`${name}: answering "not there", until the server has been answered for ${unanswered}`)
      return absentCode
    }
    archive = await openArchiveToFetch(config)
    const fetched = await fetchFile(
      {
        archive,
        name,
        dest,
        standby,
        tails: config.tail,
        endAtHole: config['end-at-hole'],
        ignoreBacklog: config['ignore-backlog'],
        retryForMs: config['retry-for'] ?? (standby ? standbyRetryForMs : retryForMs),
        onRetry: (error) => say(`${name}: ${describe(error)}; trying again`),
        onStuck: (error) => {
          report(error, debug)
          say(`${name}: waiting, because the standby would go on without it`)
        },
      },
      stopped.signal,
    )
    if (fetched.answer === 'served') {
      if (fetched.what !== 'the segment' || debug) say(`${name}: served ${fetched.what}`)
      const key = process.env['_WALFERRY_PREFETCH_FOR']
      if (fetched.what === 'the segment' && config.prefetch > 0 && key !== undefined) {
        const { fetchAhead } = await import('./fetch-ahead.ts')
        await fetchAhead({ archive, name, dest, args, key }, stopped.signal)
      }
      return 0
    }
    if (debug || fetched.gaveUp === true) say(`${name}: not there: ${fetched.why}`)
    return absentCode
  } catch (error) {
    if (stopped.exitCode !== null) return stopped.exitCode
    report(error, debug)
    const mayBeAbsent = isError(error) && absentInstead.includes(error.code)
    if (!mayBeAbsent || asked === null || !(await isNoted(asked))) return exitCodeOf(error)
    say('answering "not there", as a standby or --on-outage wants it')
    return absentCode
  } finally {
    archive?.store.close()
    stopped.dispose()
  }
}

/** Without the note the server could get the segment of a timeline that its line has left. */
async function isNoted(asked: { readonly name: string; readonly dest: string }): Promise<boolean> {
  try {
    await noteUnanswered(asked)
    return true
  } catch (error) {
    report(error, false)
    return false
  }
}

/**
 * Errors that are told as "not there". A standby asks again, so to it a hole is one more outage. To a recovery it is
 * the end, with WAL behind it left unread: no option for outages may mean that.
 */
function absentFor(standby: boolean, onOutage: 'fail' | 'absent' | undefined): readonly ErrorCode[] {
  if (onOutage === 'fail' || (onOutage === undefined && !standby)) return []
  return standby ? ['STORE_UNREACHABLE', 'ARCHIVE_HOLE'] : ['STORE_UNREACHABLE']
}

/** A fast shutdown sends SIGTERM to the restore_command, too: then no half file stays behind in pg_wal. */
class StopSignals {
  /** As if the signal had ended the process, which is how PostgreSQL tells a shutdown from a failure. */
  exitCode: number | null = null
  readonly #stop = new AbortController()
  readonly #onSignal = (name: NodeJS.Signals, number: number): void => {
    this.exitCode = 128 + number
    this.#stop.abort(new Error(`stopped by ${name}`))
  }

  constructor() {
    for (const name of stopSignals) process.on(name, this.#onSignal)
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  dispose(): void {
    for (const name of stopSignals) process.off(name, this.#onSignal)
  }
}

function say(text: string): void {
  process.stderr.write(`walferry fetch: ${text}\n`)
}
