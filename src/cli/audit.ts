/** What the commands that look after an archive have in common: an end by signal, errors told to a person, an archive. */
import type { Archive } from '../archive/archive.ts'
import { parseBackupName } from '../archive/backup-keys.ts'
import { WalferryError } from '../kit/errors.ts'
import { gather, readConfig } from './config.ts'
import { openArchive, type storeOptions } from './open-store.ts'
import type { Config, OptionName } from './options.ts'
import { report } from './report.ts'

type StoreOption = (typeof storeOptions)[number]

/** Resolves with the exit code: 1 for an error, which is told. */
export async function told(run: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const stop = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${name}`))
  process.once('SIGTERM', onSignal)
  process.once('SIGINT', onSignal)
  try {
    await run(stop.signal)
    return 0
  } catch (error) {
    report(error, false)
    return 1
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
  }
}

/** Reads the options, and opens the archive for `use`. Throws BAD_INPUT. */
export async function withArchive<N extends OptionName>(
  names: readonly (N | StoreOption)[],
  args: readonly string[],
  use: (archive: Archive, config: Config<N | StoreOption>) => Promise<void>,
): Promise<void> {
  const config = readConfig(names, await gather(names, args, process.env))
  const archive = await openArchive(config)
  try {
    await use(archive, config)
  } finally {
    archive.store.close()
  }
}

/** NAME, and the arguments behind it. Throws BAD_INPUT. */
export function backupOperand(
  args: readonly string[],
  command: string,
): { readonly name: string; readonly rest: readonly string[] } {
  const [name = '', ...rest] = args
  if (parseBackupName(name) !== null) return { name, rest }
  throw new WalferryError('BAD_INPUT', 'the name of a backup comes first, options after', {
    hint: `Write walferry ${command} base_00000001000000000000002A --store s3://bucket/prefix. walferry list shows the names.`,
  })
}
