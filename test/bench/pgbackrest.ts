/** pgBackRest, with a repository on the same disk: it reads the server's folder itself, with a process for each core. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { BackupTool } from './backup-tools.ts'
import { type Program, run } from './measure.ts'
import type { Bench } from './server.ts'
import { emptied } from './wal.ts'

const repository = 'pgbackrest'

/** Null where it is not installed. */
export function pgbackrestOf(bench: Bench): BackupTool | null {
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
  return {
    name: `pgbackrest, ${processes} processes`,
    begin,
    backUp: async () => await run(told(...server, ...compressed, ...unarchived, 'backup')),
    forget: begin,
    restoreInto: async (target) => await run(told(`--pg1-path=${target}`, `--process-max=${processes}`, 'restore')),
  }
}
