/**
 * `walferry push PATH`: starts with every segment that a server archives, so it loads nothing that it does not use.
 *
 * bin/walferry answers PostgreSQL with 0 once the file is durable in the archive, and with 1 for everything else, upon
 * which PostgreSQL keeps the file and calls again.
 */
import type { Archive } from '../archive/archive.ts'
import { refuseUnwritable } from '../archive/codec-support.ts'
import { WalferryError } from '../kit/errors.ts'
import { pushFile } from '../ship/push.ts'
import { gather, readConfig } from './config.ts'
import { openArchive } from './open-store.ts'
import { pushOptions } from './push-options.ts'
import { report } from './report.ts'

/** What our process exits with for "stored": Node.js may exit with 0 without having done anything. */
export const storedCode = 64
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs `push`, tells what happened on standard error, and returns the exit code for bin/walferry. */
export async function runPush(args: readonly string[]): Promise<number> {
  const stop = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${name}`))
  for (const name of stopSignals) process.on(name, onSignal)
  let debug = false
  let archive: Archive | null = null
  try {
    const { path, rest } = parse(args)
    const config = readConfig(pushOptions, await gather(pushOptions, rest, process.env))
    debug = config['log-level'] === 'debug'
    await refuseUnwritable(config.compression)
    archive = await openArchive(config)
    const pushed = await pushFile({ archive, path, codec: config.compression }, stop.signal)
    for (const warning of pushed.warnings) process.stderr.write(`warning: ${warning}\n`)
    if (debug) process.stderr.write(`walferry push: ${path} is at ${pushed.key}\n`)
    return storedCode
  } catch (error) {
    report(error, debug)
    return 1
  } finally {
    archive?.store.close()
    for (const name of stopSignals) process.off(name, onSignal)
  }
}

function parse(args: readonly string[]): { path: string; rest: readonly string[] } {
  const [path, ...rest] = args
  if (path === undefined || path.startsWith('-')) {
    throw new WalferryError('BAD_INPUT', 'PATH comes first, options after', {
      hint: "Write archive_command = 'walferry push %p --store s3://bucket/prefix'. See walferry push --help.",
    })
  }
  return { path, rest }
}
