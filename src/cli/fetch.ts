/**
 * `walferry fetch NAME DEST`: starts with every segment of a recovery, so it loads nothing that it does not use.
 */
import { Archive } from '../archive/archive.ts'
import { describe, type ErrorCode, isError, WalferryError } from '../kit/errors.ts'
import { isStandbyBeside } from '../restore/beside.ts'
import { absentCode, exitCodeOf } from '../restore/exit-codes.ts'
import { fetchFile } from '../restore/fetch.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { gather, readConfig } from './config.ts'
import { fetchOptions } from './fetch-options.ts'
import { openStore } from './open-store.ts'
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
  let store: ObjectStore | null = null
  try {
    const { name, dest, rest } = parse(args)
    const config = readConfig(fetchOptions, await gather(fetchOptions, rest, process.env))
    debug = config['log-level'] === 'debug'
    const standby = config.standby ?? (await isStandbyBeside(dest))
    absentInstead = absentFor(standby, config['on-outage'])
    store = await openStore(config)
    const fetched = await fetchFile(
      {
        archive: new Archive(store),
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
      return 0
    }
    if (debug || fetched.gaveUp === true) say(`${name}: not there: ${fetched.why}`)
    return absentCode
  } catch (error) {
    if (stopped.exitCode !== null) return stopped.exitCode
    report(error, debug)
    if (isError(error) && absentInstead.includes(error.code)) {
      say('answering "not there", as a standby or --on-outage wants it')
      return absentCode
    }
    return exitCodeOf(error)
  } finally {
    store?.close()
    stopped.dispose()
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

function parse(args: readonly string[]): { name: string; dest: string; rest: readonly string[] } {
  const [name, dest, ...rest] = args
  if (name === undefined || dest === undefined || name.startsWith('-') || dest.startsWith('-')) {
    throw new WalferryError('BAD_INPUT', 'NAME and DEST come first, options after', {
      hint: "Write restore_command = 'walferry-fetch %f %p --store s3://bucket/prefix'. See walferry fetch --help.",
    })
  }
  return { name, dest, rest }
}

function say(text: string): void {
  process.stderr.write(`walferry fetch: ${text}\n`)
}
