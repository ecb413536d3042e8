/** The commands. What a command needs is loaded when it runs: `fetch` and `push` start with every segment. */
import { WalferryError } from '../kit/errors.ts'
import { backupOptions } from './backup-options.ts'
import { checkOptions } from './check-options.ts'
import { gather, readConfig } from './config.ts'
import { acknowledgeOptions, deleteOptions, listOptions, markOptions } from './audit-options.ts'
import { fetchOptions } from './fetch-options.ts'
import { keyOptions, storeOptions } from './open-store.ts'
import type { OptionName } from './options.ts'
import { pushOptions } from './push-options.ts'
import { receiveOptions } from './receive-options.ts'
import { report } from './report.ts'
import { restoreOptions } from './restore-options.ts'
import { statusOptions } from './status-options.ts'
import { givenFor } from './values.ts'

export interface Command {
  readonly name: string
  /** What has to follow the name, before the options. */
  readonly operands: readonly string[]
  readonly summary: string
  /** What else its help has to say. */
  readonly remark?: string
  readonly options: readonly OptionName[]
  /** Those that other commands require, and this one does not. */
  readonly optional?: readonly OptionName[]
  /** Tells what is wrong on standard error, and resolves with the exit code. `args` is all that follows the name. */
  readonly run: (args: readonly string[]) => Promise<number>
}

export const commands: readonly Command[] = [
  {
    name: 'receive',
    operands: [],
    summary: 'Receive WAL from a server, keep it in the spool, ship it to the store',
    options: receiveOptions,
    run: async (args) => (await import('./receive.ts')).runReceive(args),
  },
  {
    name: 'fetch',
    operands: ['NAME', 'DEST'],
    summary: 'Bring one WAL file back, for restore_command (walferry-fetch %f %p ...)',
    options: fetchOptions,
    run: async (args) => (await import('./fetch.ts')).runFetch(args),
  },
  {
    name: 'push',
    operands: ['PATH'],
    summary: 'Bring one WAL file into the archive, for archive_command (walferry push %p ...)',
    options: pushOptions,
    run: async (args) => (await import('./push.ts')).runPush(args),
  },
  {
    name: 'backup',
    operands: [],
    summary: 'Take a base backup of a server into the archive',
    options: backupOptions,
    run: async (args) => (await import('./backup.ts')).runBackup(args),
  },
  {
    name: 'restore',
    operands: ['DIR'],
    summary: 'Bring a base backup back into a folder, in which a server can then be started',
    options: restoreOptions,
    run: async (args) => (await import('./restore.ts')).runRestore(args),
  },
  {
    name: 'check',
    operands: [],
    summary: 'Look at a whole set-up: connection, server, slot, spool, store',
    options: checkOptions,
    run: async (args) => (await import('./check.ts')).runCheck(args),
  },
  {
    name: 'status',
    operands: [],
    summary: 'Tell how much would be lost now, whether it gets worse, where it hangs, what can be restored',
    remark:
      'Asks the receiver that listens on --listen; where none answers, the archive of --store. Exits with 0 if one of them has ' +
      'answered, whatever it said, and with 1 if none has. What is to be judged by a program, /readyz and the metrics tell.',
    options: statusOptions,
    optional: ['store'],
    run: async (args) => (await import('./status.ts')).runStatus(args),
  },
  {
    name: 'list',
    operands: [],
    summary: 'Show the base backups, and from when to when can be restored',
    options: listOptions,
    run: async (args) => (await import('./list.ts')).runList(args),
  },
  {
    name: 'mark',
    operands: ['NAME'],
    summary: 'Keep a base backup for good (--permanent), or no longer (--no-permanent)',
    options: markOptions,
    run: async (args) => (await import('./mark.ts')).runMark(args),
  },
  {
    name: 'acknowledge',
    operands: ['[GAP]...'],
    summary: 'Show the gaps that nobody has acknowledged; say of those that are named, or --all, that they are known',
    options: acknowledgeOptions,
    run: async (args) => (await import('./acknowledge.ts')).runAcknowledge(args),
  },
  {
    name: 'delete',
    operands: ['NAME'],
    summary: 'Delete a base backup, never WAL; shows first what cannot be restored any more then',
    options: deleteOptions,
    run: async (args) => (await import('./delete.ts')).runDelete(args),
  },
  {
    name: 'demo',
    operands: [],
    summary: 'See it work: a throw-away server, a crash, a recovery, every row compared',
    options: ['pg-bin', ...storeOptions],
    optional: ['store'],
    run: runDemo,
  },
]

/** Not 1, because PostgreSQL would take that from a mistyped restore_command for the end of WAL. */
const exitNoCommand = 126

/** Runs a command line, and resolves with the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  const command = commands.find((one) => one.name === word)
  // Behind the operands of `fetch` and `push` it is a slip: PostgreSQL must not take the help for a file that is done.
  const isAsked = (flag: string): boolean => (command?.operands.length ? rest[0] === flag : args.includes(flag))
  if (isAsked('--help')) {
    const { helpFor } = await import('./help.ts')
    process.stdout.write(helpFor(command ?? null, commands, process.stdout.columns ?? 100))
    return 0
  }
  if (isAsked('--version')) {
    const { version } = await import('../kit/version.ts')
    process.stdout.write(`${version()}\n`)
    return 0
  }
  if (command !== undefined) return await command.run(rest)
  report(noCommand(word), false)
  // `push` behind its options comes from archive_command, where a code of 126 or more ends the archiver process.
  return args.includes('push') ? 1 : exitNoCommand
}

function noCommand(word: string | undefined): WalferryError {
  const known = `Commands: ${commands.map((one) => one.name).join(', ')}. See walferry --help.`
  if (word === undefined) return new WalferryError('BAD_INPUT', 'a command is missing', { hint: known })
  // Anything but a plain word may be a connection URL, with a password.
  const shown = /^[\w-]+$/.test(word) ? `"${word}"` : 'the first word of the command line'
  return new WalferryError('BAD_INPUT', `${shown} is no command, which has to come first`, { hint: known })
}

async function runDemo(args: readonly string[]): Promise<number> {
  try {
    const sources = await gather(['pg-bin', ...storeOptions], args, process.env)
    const config = readConfig(['pg-bin'], sources)
    // Without a store it ships into a folder of its own.
    const store = readConfig(givenFor('store', sources) === null ? keyOptions : storeOptions, sources)
    await (await import('./demo.ts')).runDemo(config, store)
    return 0
  } catch (error) {
    report(error, false)
    return 1
  }
}
