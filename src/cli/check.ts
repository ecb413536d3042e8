/** `walferry check`: looks at a whole set-up, with the options of receive. */
import { resolve } from 'node:path'
import { checkAll } from '../check/check.ts'
import { isPassed, tellJson, tellText } from '../check/tell.ts'
import { parseTarget } from '../pg/target.ts'
import { checkOptions } from './check-options.ts'
import { type Flags, readConfig } from './config.ts'
import { openStore } from './open-store.ts'

/** Tells the findings on standard output, and resolves with the exit code: 1 if something failed. */
export async function runCheck(flags: Flags): Promise<number> {
  const config = readConfig(checkOptions, flags, process.env)
  const target = parseTarget(config.url, process.env)
  const store = await openStore(config)
  const stop = new AbortController()
  // What was put into the store to try it is deleted first; a second signal ends the process as ever.
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${signal}`))
  process.once('SIGTERM', onSignal)
  process.once('SIGINT', onSignal)
  try {
    const findings = await checkAll(
      { target, slot: config.slot, requireSlot: config['require-slot'], spoolFolder: resolve(config.spool) },
      store,
      stop.signal,
    )
    process.stdout.write(config.json ? tellJson(findings) : tellText(findings))
    return isPassed(findings) ? 0 : 1
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    store.close()
  }
}
