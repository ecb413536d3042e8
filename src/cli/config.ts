/** Makes one frozen configuration out of flags, variables, file and defaults, and names everything that is wrong at once. */
import * as v from 'valibot'
import { WalferryError } from '../kit/errors.ts'
import { readConfigFile } from './config-file.ts'
import { parseFlags } from './flags.ts'
import { type Config, entryOf, type OptionName, variableOf } from './options.ts'
import { warn } from './report.ts'
import {
  givenFor,
  type Problem,
  type Reading,
  type Sources,
  standInsLayer,
  unknownVariables,
  type Variables,
  variablesLayer,
} from './values.ts'

/** Either a value, or all that stands in its way. */
export type Checked<T> = { readonly value: T } | { readonly problems: readonly Problem[] }

/**
 * Gathers what was given for a command with these options: `args` are what follows its name and arguments. Reads the
 * file of `--config`, and warns of variables that nobody will read. What is wrong with the sources comes out of `readConfig`.
 */
export async function gather(
  names: readonly OptionName[],
  args: readonly string[],
  env: Variables,
  tell: (warning: string) => void = warn,
): Promise<Sources> {
  const flags = parseFlags(['config', ...names], args)
  const variables = variablesLayer(env)
  const config = flags.layer.get('config') ?? variables.get('config')
  const file: Reading = config === undefined ? { layer: new Map(), problems: [] } : await readConfigFile(config)
  const unknown = unknownVariables(env)
  if (unknown.length > 0) tell(`there is no option for ${unknown.join(', ')}`)
  return {
    layers: [flags.layer, variables, file.layer, standInsLayer(env)],
    problems: [...flags.problems, ...file.problems],
  }
}

/** Throws BAD_INPUT with a line for everything that is wrong, each with its origin. */
export function readConfig<N extends OptionName>(names: readonly N[], sources: Sources): Config<N> {
  return accept(checkConfig(names, sources))
}

/** The same, to be told together with other problems. */
export function checkConfig<N extends OptionName>(names: readonly N[], sources: Sources): Checked<Config<N>> {
  const values: Record<string, unknown> = {}
  const problems: Problem[] = [...sources.problems]
  for (const name of names) {
    const entry = entryOf(name)
    const given = givenFor(name, sources) ?? defaultOf(name)
    if (given === null) {
      if (entry.required === true) problems.push({ text: `--${name} (or ${variableOf(name)}) is missing` })
      continue
    }
    const result = v.safeParse(entry.schema, given.text)
    if (result.success) values[name] = result.output
    else {
      const shown = entry.unspoken === true ? '' : `: "${given.text}"`
      problems.push({ text: `${given.from}${shown} is not ${result.issues[0].message}` })
    }
  }
  if (problems.length > 0) return { problems }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value is its schema's output, by name
  return { value: Object.freeze(values) as Config<N> }
}

/** The value. Throws BAD_INPUT. */
export function accept<T>(checked: Checked<T>): T {
  if ('value' in checked) return checked.value
  throw refusal(checked.problems)
}

/** Both values. Throws BAD_INPUT with the problems of both. */
export function acceptBoth<A, B>(a: Checked<A>, b: Checked<B>): readonly [A, B] {
  if ('value' in a && 'value' in b) return [a.value, b.value]
  throw refusal([a, b].flatMap((one) => ('problems' in one ? one.problems : [])))
}

function refusal(problems: readonly Problem[]): WalferryError {
  const hints = new Set(problems.map(({ hint }) => hint ?? 'See --help.'))
  return new WalferryError('BAD_INPUT', problems.map(({ text }) => text).join('\n       '), {
    hint: [...hints].join(' '),
  })
}

function defaultOf(name: OptionName): { text: string; from: string } | null {
  const { fallback } = entryOf(name)
  return fallback === undefined ? null : { text: fallback, from: `the default of --${name}` }
}
