/** pgBackRest, with a repository on the same disk: it reads the server's folder itself, with a process for each core. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe } from '../../src/kit/errors.ts'
import { type Measured, type Program, run } from './measure.ts'
import type { Bench } from './server.ts'
import { emptied } from './wal.ts'

const repository = 'pgbackrest'

export interface Pgbackrest {
  readonly name: string
  /** A full backup into an empty repository, compressed as ours. */
  readonly backUp: () => Promise<Measured>
  /** The last one back into an empty folder, which has to be there. */
  readonly restoreInto: (folder: string) => Promise<Measured>
}

/** Null where it is not installed, or does not know this server: it is older, perhaps. Then it says so. */
export async function pgbackrestOf(bench: Bench): Promise<Pgbackrest | null> {
  const { pgbackrest: file } = bench.peers
  if (file === undefined) return null
  const { dataFolder, folder, connection } = bench.server
  const processes = availableParallelism()
  const told = (...args: string[]): Program => ({
    file,
    args: [
      '--config=/dev/null',
      '--stanza=bench',
      `--repo1-path=${join(bench.folder, repository)}`,
      `--lock-path=${join(bench.folder, repository, 'lock')}`,
      '--log-level-file=off',
      '--log-level-console=error',
      ...args,
    ],
  })
  const server = [
    `--pg1-path=${dataFolder}`,
    `--pg1-socket-path=${folder}`,
    `--pg1-port=${connection.port}`,
    `--pg1-user=${connection.user}`,
  ]
  const compressed = ['--compress-type=lz4', `--process-max=${processes}`]
  // Nothing archives the server's WAL.
  const unarchived = ['--no-archive-check', '--start-fast', '--type=full']
  const begin = async (): Promise<void> => {
    await emptied(bench, repository)
    await run(told(...server, 'stanza-create'))
  }
  try {
    await begin()
  } catch (error) {
    process.stdout.write(`pgbackrest is left out: ${describe(error)}\n`)
    return null
  }
  return {
    name: `pgbackrest, ${processes} processes`,
    backUp: async () => {
      await begin()
      return await run(told(...server, ...compressed, ...unarchived, 'backup'))
    },
    restoreInto: async (target) => await run(told(`--pg1-path=${target}`, `--process-max=${processes}`, 'restore')),
  }
}
