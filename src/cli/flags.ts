/**
 * Reads the flags of a command line, as the option table has them and as getopt_long does: `--slot NAME`, `--slot=NAME`,
 * `-S NAME`, `-SNAME`, `-nv`, `--no-loop`.
 *
 * What belongs to no option is repeated in a message only where it cannot be a secret: the connection URL and the value of
 * a mistyped flag may be one.
 */
import { parseArgs } from 'node:util'
import { entryOf, type OptionName } from './options.ts'
import type { Given, Problem, Reading } from './values.ts'

/** What a flag sets, by its long name. */
interface Meaning {
  readonly option: OptionName
  /** What the flag says by standing there; null: a value follows. */
  readonly says: 'true' | 'false' | null
  readonly letter: string | undefined
}

/** Never throws: what is wrong is among the problems. */
export function parseFlags(names: readonly OptionName[], args: readonly string[]): Reading {
  const meanings = meaningsOf(names)
  const layer = new Map<OptionName, Given>()
  const problems: Problem[] = []
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries([...meanings].map(([long, meaning]) => [long, declared(meaning)])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const strange = new Set<number>()
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    const meaning = token.kind === 'option' ? meanings.get(token.name) : undefined
    if (token.kind === 'positional' || meaning === undefined) {
      // The letters of one word are told once: "-Wsecret" comes as seven flags.
      if (!strange.has(token.index)) problems.push({ text: unknown(token) })
      strange.add(token.index)
      continue
    }
    const { rawName: from, value } = token
    const before = layer.get(meaning.option)
    if (before !== undefined && entryOf(meaning.option).repeatable === true && value !== undefined) {
      layer.set(meaning.option, { text: `${before.text}\n${value}`, from })
    } else if (before !== undefined) {
      problems.push({
        text: `${from} is given more than once${before.from === from ? '' : `, also as ${before.from}`}`,
      })
    } else if (meaning.says === 'false' && value !== undefined) {
      problems.push({ text: `${from} takes no value` })
    } else if (meaning.says !== null) {
      layer.set(meaning.option, { text: value ?? meaning.says, from })
    } else if (value === undefined) {
      problems.push({ text: `${from} needs a value` })
    } else if (!token.inlineValue && /^-./.test(value)) {
      problems.push({ text: `${from} needs a value, and a flag follows (a value that begins with -: ${from}=-...)` })
    } else {
      layer.set(meaning.option, { text: value, from })
    }
  }
  return { layer, problems }
}

function meaningsOf(names: readonly OptionName[]): ReadonlyMap<string, Meaning> {
  const meanings = new Map<string, Meaning>()
  for (const option of names) {
    const { alias, longAlias, boolean, offAlias } = entryOf(option)
    const says = boolean === true ? 'true' : null
    meanings.set(option, { option, says, letter: alias })
    if (longAlias !== undefined) meanings.set(longAlias, { option, says, letter: undefined })
    if (boolean === true) meanings.set(`no-${option}`, { option, says: 'false', letter: offAlias })
  }
  return meanings
}

function declared({ says, letter }: Meaning) {
  const type = says === null ? ('string' as const) : ('boolean' as const)
  return letter === undefined ? { type } : { type, short: letter }
}

const plainWord = /^[a-z][\w-]{0,31}$/i

interface Unknown {
  readonly kind: string
  readonly index: number
  readonly rawName?: string
  readonly value?: string | undefined
}

function unknown(token: Unknown): string {
  const { rawName = '' } = token
  // Whatever has other characters is no slip of the pen in a flag's name.
  if (/^--?[\w?-]+$/.test(rawName)) return `${rawName} is no option of this command`
  // A plain word is no URL, and with nothing before it no flag's value.
  if (token.kind === 'positional' && token.index === 0 && plainWord.test(token.value ?? '')) {
    return `"${token.value}" belongs to none of the options`
  }
  return `word ${token.index + 1} of the options belongs to none of them (it is not shown: it may be a secret)`
}
