/** What one check has found: one line of `walferry check`. */
import { describe, isError } from '../kit/errors.ts'

/** `skipped`: it could not be looked at, because of another check that failed or of what is not allowed. */
export type State = 'ok' | 'warning' | 'failed' | 'skipped'

export interface Finding {
  /** Stable: a script may match on it. */
  readonly name: string
  readonly state: State
  /** What was found, with its operands. Never a secret. */
  readonly what: string
  /** What to do about it, where something can be done. */
  readonly remedy?: string
}

export function ok(name: string, what: string): Finding {
  return { name, state: 'ok', what }
}

export function warning(name: string, what: string, remedy?: string): Finding {
  return { name, state: 'warning', what, ...(remedy === undefined ? {} : { remedy }) }
}

export function failed(name: string, what: string, remedy?: string): Finding {
  return { name, state: 'failed', what, ...(remedy === undefined ? {} : { remedy }) }
}

export function skipped(name: string, why: string): Finding {
  return { name, state: 'skipped', what: why }
}

/** A check that ended with an error: its message, and its hint as the remedy. */
export function failedWith(name: string, error: unknown): Finding {
  return failed(name, describe(error), isError(error) ? error.hint : undefined)
}
