/** The command line of `fetch`, which its background process is started with, too: NAME DEST, then options. */
import { WalferryError } from '../kit/errors.ts'
import { gather, readConfig } from './config.ts'
import { fetchOptions } from './fetch-options.ts'
import type { Config } from './options.ts'

export interface FetchArguments {
  readonly name: string
  readonly dest: string
  readonly config: Config<(typeof fetchOptions)[number]>
}

/** Throws BAD_INPUT. */
export async function readFetchArguments(args: readonly string[]): Promise<FetchArguments> {
  const [name, dest, ...rest] = args
  if (name === undefined || dest === undefined || name.startsWith('-') || dest.startsWith('-')) {
    throw new WalferryError('BAD_INPUT', 'NAME and DEST come first, options after', {
      hint: "Write restore_command = 'walferry-fetch %f %p --store s3://bucket/prefix'. See walferry fetch --help.",
    })
  }
  return { name, dest, config: readConfig(fetchOptions, await gather(fetchOptions, rest, process.env)) }
}
