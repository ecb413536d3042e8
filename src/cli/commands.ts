/** The commands that yargs parses, all from the one option table. */
import yargs, { type Argv, type Options } from 'yargs'
import { WalferryError } from '../kit/errors.ts'
import { checkOptions } from './check-options.ts'
import { readConfig } from './config.ts'
import { fetchOptions } from './fetch-options.ts'
import { entryOf, type OptionName, variableOf } from './options.ts'
import { pushOptions } from './push-options.ts'
import { receiveOptions } from './receive.ts'
import { report } from './report.ts'
import { version } from './version.ts'

const exitNoCommand = 126

/** Runs a command line, and returns the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  let code = 0
  const run = (work: (flags: Record<string, unknown>) => Promise<void>) => async (flags: Record<string, unknown>) => {
    try {
      await work(flags)
    } catch (error) {
      report(error, flags['log-level'] === 'debug')
      code = 1
    }
  }
  const parser = yargs([...args])
    .scriptName('walferry')
    .usage('$0 <command>\n\nShips the write-ahead log of PostgreSQL to object storage, and gives it back.')
    .parserConfiguration({ 'camel-case-expansion': false, 'duplicate-arguments-array': true })
    .command(
      'receive',
      'Receive WAL from a server, keep it in the spool, ship it to the store',
      (argv) => withOptions(argv, receiveOptions),
      run(async (flags) => (await import('./receive.ts')).runReceive(flags)),
    )
    .command(
      'fetch <name> <dest>',
      'Bring one WAL file back, for restore_command (walferry-fetch %f %p ...)',
      (argv) =>
        withOptions(argv, fetchOptions)
          .positional('name', { describe: 'Segment or history file', type: 'string' })
          .positional('dest', { describe: 'Where to put it', type: 'string' }),
      () => {
        // main.ts runs it, where it comes first. Here it would pass for done, and PostgreSQL would promote.
        throw new WalferryError('BAD_INPUT', 'fetch has to be the first word of the command line', {
          hint: "Write restore_command = 'walferry-fetch %f %p --store ...', options last.",
        })
      },
    )
    .command(
      'push <path>',
      'Bring one WAL file into the archive, for archive_command (walferry push %p ...)',
      (argv) => withOptions(argv, pushOptions).positional('path', { describe: 'The file', type: 'string' }),
      run(() => {
        // main.ts runs it, where it comes first.
        throw new WalferryError('BAD_INPUT', 'push has to be the first word of the command line', {
          hint: "Write archive_command = 'walferry push %p --store ...', options last.",
        })
      }),
    )
    .command(
      'check',
      'Look at a whole set-up: connection, server, slot, spool, store',
      (argv) => withOptions(argv, checkOptions),
      run(async (flags) => {
        code = await (await import('./check.ts')).runCheck(flags)
      }),
    )
    .command(
      'demo',
      'See it work: a throw-away server, a crash, a recovery, every row compared',
      (argv) => withOptions(argv, ['pg-bin']),
      run(async (flags) => (await import('./demo.ts')).runDemo(readConfig(['pg-bin'], flags, process.env))),
    )
    .demandCommand(1, 'A command is missing.')
    .strict()
    .version(version())
    .wrap(Math.min(110, process.stdout.columns ?? 100))
    .exitProcess(false)
    .fail((message: string, error?: Error) => {
      throw error ?? new WalferryError('BAD_INPUT', message, { hint: 'See walferry --help.' })
    })
  try {
    await parser.parseAsync()
  } catch (error) {
    report(error, false)
    return exitNoCommand
  }
  return code
}

function withOptions(argv: Argv, names: readonly OptionName[]): Argv {
  for (const name of names) argv.option(name, yargsOption(name))
  return argv
}

function yargsOption(name: OptionName): Options {
  const entry = entryOf(name)
  return {
    type: entry.boolean === true ? 'boolean' : 'string',
    group: `${entry.group}:`,
    describe: `${entry.required === true ? '(required) ' : ''}${entry.help} [${variableOf(name)}]`,
    ...(entry.alias === undefined ? {} : { alias: entry.alias }),
    ...(entry.fallback === undefined ? {} : { defaultDescription: entry.fallback }),
  }
}
