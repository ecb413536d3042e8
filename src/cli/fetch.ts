/**
 * `walferry fetch NAME DEST`: starts with every segment of a recovery, so it parses its few options itself and loads
 * nothing that it does not use.
 */
import { parseArgs } from 'node:util'
import { Archive } from '../archive/archive.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import { isStandbyBeside } from '../restore/beside.ts'
import { absentCode, exitCodeOf } from '../restore/exit-codes.ts'
import { fetchFile } from '../restore/fetch.ts'
import { type Flags, readConfig } from './config.ts'
import { fetchOptions } from './fetch-options.ts'
import { openStore } from './open-store.ts'
import { entryOf } from './options.ts'
import { report } from './report.ts'

const retryForMs = 60_000
/** A standby asks again anyway, and meanwhile it cannot be promoted or look into its own pg_wal. */
const standbyRetryForMs = 5000

/** Runs `fetch`, tells what happened on standard error, and returns the exit code for bin/walferry. */
export async function runFetch(args: readonly string[]): Promise<number> {
  let debug = false
  let outageIsAbsent = false
  try {
    const { name, dest, flags } = parse(args)
    const config = readConfig(fetchOptions, flags, process.env)
    debug = config['log-level'] === 'debug'
    const standby = config.standby ?? (await isStandbyBeside(dest))
    outageIsAbsent = config['on-outage'] === undefined ? standby : config['on-outage'] === 'absent'
    const archive = new Archive(await openStore(config))
    const fetched = await fetchFile(
      {
        archive,
        name,
        dest,
        retryForMs: config['retry-for'] ?? (standby ? standbyRetryForMs : retryForMs),
        onRetry: (error) => say(`${name}: ${describe(error)}; trying again`),
      },
      new AbortController().signal,
    )
    archive.store.close()
    if (fetched.answer === 'served') {
      if (fetched.what !== 'the segment' || debug) say(`${name}: served ${fetched.what}`)
      return 0
    }
    if (debug) say(`${name}: not there: ${fetched.why}`)
    return absentCode
  } catch (error) {
    report(error, debug)
    if (outageIsAbsent && isError(error, 'STORE_UNREACHABLE', 'ARCHIVE_HOLE')) {
      say('answering "not there", because a standby asks again')
      return absentCode
    }
    return exitCodeOf(error)
  }
}

function parse(args: readonly string[]): { name: string; dest: string; flags: Flags } {
  const [name, dest, ...rest] = args
  if (name === undefined || dest === undefined || name.startsWith('-') || dest.startsWith('-')) {
    throw usage('NAME and DEST come first, options after')
  }
  try {
    const options = Object.fromEntries(
      fetchOptions.map((option) => [
        option,
        { type: entryOf(option).boolean === true ? 'boolean' : 'string', multiple: true } as const,
      ]),
    )
    const { values } = parseArgs({ args: [...rest], options, strict: true, allowNegative: true })
    return { name, dest, flags: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, single(value)])) }
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

/** A flag that was given twice stays a list, which the configuration refuses. */
function single(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value
}

function usage(message: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, {
    hint: "Write restore_command = 'walferry-fetch %f %p --store s3://bucket/prefix'. See walferry fetch --help.",
  })
}

function say(text: string): void {
  process.stderr.write(`walferry fetch: ${text}\n`)
}
