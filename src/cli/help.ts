/** The help, out of the option table: options in groups, each with its flags, the unit of its value, and its default. */
import type { Command } from './commands.ts'
import { entryOf, type OptionName, variableOf } from './options.ts'
import { wrapped } from './paint.ts'

const indent = '  '
/** Where the explanation of an option begins; longer flags get a line of their own. */
const column = 32
const widest = 110
const narrowest = 80

/** What `walferry --help` (command: null) and `walferry COMMAND --help` print, for a terminal of `columns`. */
export function helpFor(command: Command | null, commands: readonly Command[], columns: number): string {
  const width = Math.max(narrowest, Math.min(widest, columns))
  const lines = command === null ? overview(commands, width) : page(command, width)
  return `${lines.join('\n')}\n`
}

function overview(commands: readonly Command[], width: number): string[] {
  return [
    'walferry ships the write-ahead log (WAL) of PostgreSQL to object storage, and gives it back.',
    '',
    'Usage:',
    ...commands.map((one) => indent + usageOf(one)),
    '',
    'Commands:',
    ...commands.flatMap((one) => entry(one.name, one.summary, width)),
    '',
    'walferry COMMAND --help lists the options of a command; --version prints the version.',
  ]
}

function page(command: Command, width: number): string[] {
  const names: readonly OptionName[] = ['config', ...command.options]
  const groups = new Set(names.map((name) => entryOf(name).group))
  return [
    ...wrapped(`${command.summary}.`, width),
    ...(command.remark === undefined ? [] : wrapped(command.remark, width)),
    '',
    `Usage: ${usageOf(command)}`,
    ...[...groups].flatMap((group) => {
      const ofGroup = names.filter((name) => entryOf(name).group === group)
      return ['', `${group}:`].concat(ofGroup.flatMap((name) => optionLines(name, command, width)))
    }),
    '',
    ...wrapped(
      `Each option is also an environment variable (--${exampleOption} is ${variableOf(exampleOption)}) and a key of ` +
        `the --config file (${exampleOption}: debug). Flags win over variables, variables over the file.`,
      width,
    ),
    ...wrapped('A DURATION is 500ms, 90s, 2m or 1h; a bare number is seconds. --no-NAME switches a NAME off.', width),
  ]
}

const exampleOption = 'log-level'

function usageOf({ name, operands }: Command): string {
  return ['walferry', name, ...operands, '[OPTION]...'].join(' ')
}

function optionLines(name: OptionName, command: Command, width: number): string[] {
  const { help, required, fallback } = entryOf(name)
  const defaultText = fallback === undefined ? '' : ` (default: ${fallback})`
  const isRequired = required === true && command.optional?.includes(name) !== true
  return entry(flagsOf(name), `${help}${isRequired ? ' (required)' : defaultText}`, width)
}

/** `-S, --slot NAME`, `-n, --[no-]loop`; to switch off what is off by itself is for those who look for it. */
function flagsOf(name: OptionName): string {
  const { alias, offAlias, longAlias, boolean, value, fallback } = entryOf(name)
  const letters = [alias, offAlias].flatMap((letter) => (letter === undefined ? [] : [`-${letter}`]))
  const long = boolean === true && fallback !== 'false' ? `--[no-]${name}` : `--${name}`
  const flags = [...letters, long, ...(longAlias === undefined ? [] : [`--${longAlias}`])].join(', ')
  return boolean === true ? flags : `${flags} ${value ?? 'VALUE'}`
}

function entry(title: string, text: string, width: number): string[] {
  const [first = '', ...more] = wrapped(text, width - column)
  const head = indent + title
  const top = head.length + 2 > column ? [head, ' '.repeat(column) + first] : [head.padEnd(column) + first]
  return [...top, ...more.map((line) => ' '.repeat(column) + line)]
}
