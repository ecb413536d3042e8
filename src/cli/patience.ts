/** How long a restore waits for its store, and what it tells of that. */
import { describe, type WalferryError } from '../kit/errors.ts'
import type { Patience } from '../restore/patient-store.ts'

/**
 * The first failure of several in a row is told: what looks like an outage may be a wrong name of the store. Not what was
 * told last, which several downloads meet at once.
 */
export function patienceOf(forMs: number, tell: (message: string, hint?: string) => void): Patience {
  let told = ''
  const onRetry = (error: WalferryError, failures: number): void => {
    const text = describe(error)
    if (failures > 0 || text === told) return
    told = text
    tell(`${text}; trying again for ${forMs / 1000} s`, error.hint)
  }
  return { forMs, onRetry }
}
