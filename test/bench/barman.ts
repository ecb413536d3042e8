/** Barman, on the same disk: it has pg_basebackup take the base backup, and pg_receivewal, which runs beside it, the WAL. */
import { mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import type { BackupTool } from './backup-tools.ts'
import { type Program, run, Running } from './measure.ts'
import type { Bench } from './server.ts'
import { emptied, untilSlot } from './wal.ts'

/** Its name for the server. */
const name = 'bench'
const slot = 'barman'

/** Null where it is not installed, or without a pg_basebackup that compresses with lz4 for a server that knows how. */
export function barmanOf(bench: Bench): BackupTool | null {
  const { barman: file, pg_basebackup: basebackup } = bench.peers
  if (file === undefined || basebackup === undefined || bench.server.binaries.major < 15) return null
  const home = join(bench.folder, 'barman')
  const configuration = join(home, 'barman.conf')
  const told = (...args: string[]): Program => ({ file, args: ['--config', configuration, ...args] })

  /** It refuses to back up where it does not receive WAL. */
  const whileReceiving = async <T>(work: () => Promise<T>): Promise<T> => {
    const receiver = new Running(told('receive-wal', name))
    try {
      await Promise.race([untilSlot(bench, slot, 'active'), receiver.ended])
      return await work()
    } finally {
      receiver.stop()
      await receiver.ended.catch(() => undefined)
      await untilSlot(bench, slot, 'free')
    }
  }

  return {
    name: 'barman, pg_basebackup',
    begin: async () => {
      await emptied(bench, 'barman')
      await mkdir(join(home, 'staging'))
      await writeFile(configuration, configurationOf(bench, home, dirname(basebackup)))
      await run(told('receive-wal', '--create-slot', name))
      // And where it has not yet seen a whole segment.
      await whileReceiving(() => run(told('switch-wal', '--force', '--archive', name)))
    },
    backUp: async () => await whileReceiving(() => run(told('backup', '--wait', name))),
    forget: async () => await emptied(bench, join('barman', name, 'base')),
    restoreInto: async (target) => await run(told('recover', name, 'latest', target)),
  }
}

function configurationOf(bench: Bench, home: string, path: string): string {
  const { host, port, user } = bench.server.connection
  const place = `host=${host} port=${port} user=${user}`
  return `[barman]
barman_home = ${home}
barman_user = ${userInfo().username}
configuration_files_directory = ${join(home, 'none')}
log_file = ${join(home, 'log')}

[${name}]
description = measured
conninfo = ${place} dbname=postgres
streaming_conninfo = ${place}
streaming_archiver = on
slot_name = ${slot}
path_prefix = ${path}
backup_method = postgres
backup_compression = lz4
backup_compression_location = client
backup_compression_format = tar
immediate_checkpoint = true
recovery_staging_path = ${join(home, 'staging')}
`
}
