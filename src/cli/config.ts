/** Makes one frozen configuration out of flags, variables and defaults, and names everything that is wrong at once. */
import * as v from 'valibot'
import { WalferryError } from '../kit/errors.ts'
import { type Config, entryOf, type OptionName, variableOf } from './options.ts'

/** Flags as a command line gave them: by long name; a list where a flag was given twice. */
export type Flags = Readonly<Record<string, unknown>>

/** Throws BAD_INPUT with a line for each bad value, which names its origin. */
export function readConfig<N extends OptionName>(
  names: readonly N[],
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): Config<N> {
  const values: Record<string, unknown> = {}
  const problems: string[] = []
  for (const name of names) {
    const entry = entryOf(name)
    const given = origin(name, flags, env)
    if (given === null) {
      if (entry.required === true) problems.push(`--${name} (or ${variableOf(name)}) is missing`)
      continue
    }
    if (Array.isArray(given.value)) {
      problems.push(`${given.from} is given more than once`)
      continue
    }
    const result = v.safeParse(entry.schema, String(given.value))
    if (result.success) values[name] = result.output
    else problems.push(`${given.from}: "${String(given.value)}" is not ${result.issues[0].message}`)
  }
  if (problems.length > 0) {
    throw new WalferryError('BAD_INPUT', problems.join('\n       '), { hint: 'See --help.' })
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value is its schema's output, by name
  return Object.freeze(values) as Config<N>
}

function origin(
  name: OptionName,
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): { value: unknown; from: string } | null {
  if (flags[name] !== undefined) return { value: flags[name], from: `--${name}` }
  const variable = variableOf(name)
  const text = env[variable]
  if (text !== undefined && text !== '') return { value: text, from: variable }
  const { fallback } = entryOf(name)
  return fallback === undefined ? null : { value: fallback, from: `the default of --${name}` }
}
