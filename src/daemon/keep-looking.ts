/**
 * Keeps one of the observer's looks going. None of them rejects, unless the program has a fault, and that must not reach
 * the capture: it is told, and the look begins anew.
 */
import { inspect } from 'node:util'
import { sleep } from '../kit/abort.ts'
import { describe } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'

const againMs = 60_000

/** Runs `look`, which goes on until `signal` aborts, and resolves when it has ended then. Never rejects. */
export async function keepLooking(
  what: string,
  look: () => Promise<void>,
  log: Log,
  signal: AbortSignal,
  pauseMs = againMs,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await look()
    } catch (error) {
      if (signal.aborted) return
      const hint = 'WAL is received and shipped as before. This is a fault of walferry: please report it.'
      log.error(`what is told of the ${what} may be old: ${describe(error)}`, { stack: inspect(error), hint })
    }
    await sleep(pauseMs, signal).catch(() => undefined)
  }
}
