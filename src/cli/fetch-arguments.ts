/** The command line of `fetch`, which its background process is started with, too: NAME DEST, then options. */
import { WalferryError } from '../kit/errors.ts'
import { type Flags, readConfig } from './config.ts'
import { fetchOptions } from './fetch-options.ts'
import type { Config } from './options.ts'
import { parseFlags } from './quick-flags.ts'

export interface FetchArguments {
  readonly name: string
  readonly dest: string
  readonly config: Config<(typeof fetchOptions)[number]>
}

/** Throws BAD_INPUT. */
export function readFetchArguments(args: readonly string[]): FetchArguments {
  const [name, dest, ...rest] = args
  if (name === undefined || dest === undefined || name.startsWith('-') || dest.startsWith('-')) {
    throw usage('NAME and DEST come first, options after')
  }
  return { name, dest, config: readConfig(fetchOptions, flagsOf(rest), process.env) }
}

function flagsOf(args: readonly string[]): Flags {
  try {
    return parseFlags(args, fetchOptions)
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

function usage(message: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, {
    hint: "Write restore_command = 'walferry-fetch %f %p --store s3://bucket/prefix'. See walferry fetch --help.",
  })
}
