/** `walferry check`: looks at a whole set-up, with the options of receive. */
import { resolve } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { checkAll } from '../check/check.ts'
import { isPassed, tellJson, tellText } from '../check/tell.ts'
import { checkOptions } from './check-options.ts'
import { acceptBoth, checkConfig, gather } from './config.ts'
import { checkTarget } from './connection.ts'
import { openArchive } from './open-store.ts'
import { report } from './report.ts'

/** Tells the findings on standard output, and resolves with the exit code: 1 if something failed. */
export async function runCheck(args: readonly string[]): Promise<number> {
  const stop = new AbortController()
  // What was put into the store to try it is deleted first; a second signal ends the process as ever.
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${signal}`))
  process.once('SIGTERM', onSignal)
  process.once('SIGINT', onSignal)
  let archive: Archive | null = null
  try {
    const sources = await gather(checkOptions, args, process.env)
    const [config, target] = acceptBoth(checkConfig(checkOptions, sources), checkTarget(sources, process.env))
    archive = await openArchive(config)
    const findings = await checkAll(
      { target, slot: config.slot, requireSlot: config['require-slot'], spoolFolder: resolve(config.spool) },
      archive,
      stop.signal,
    )
    process.stdout.write(config.json ? tellJson(findings) : tellText(findings))
    return isPassed(findings) ? 0 : 1
  } catch (error) {
    report(error, false)
    return 1
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    archive?.store.close()
  }
}
