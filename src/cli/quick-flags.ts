/**
 * Reads the flags of `fetch` and `push` without loading yargs: PostgreSQL starts them with every segment. From the one
 * option table all the same.
 */
import { parseArgs } from 'node:util'
import type { Flags } from './config.ts'
import { entryOf, type OptionName } from './options.ts'

/** Throws an error of Node.js, with what is wrong in words, for an unknown flag or one without its value. */
export function parseFlags(args: readonly string[], names: readonly OptionName[]): Flags {
  const options = Object.fromEntries(
    names.map((name) => [
      name,
      { type: entryOf(name).boolean === true ? 'boolean' : 'string', multiple: true } as const,
    ]),
  )
  const { values } = parseArgs({ args: [...args], options, strict: true, allowNegative: true })
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, single(value)]))
}

/** A flag that was given twice stays a list, which the configuration refuses. */
function single(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value
}
