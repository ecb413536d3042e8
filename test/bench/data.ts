/** A database to be backed up, and base backups of it. */
import { join } from 'node:path'
import { bareLoop } from './floor.ts'
import type { Program } from './measure.ts'
import { aimed, type Goal, type Side } from './report.ts'
import { type Bench, urlOf } from './server.ts'

/** Fills the server with rows that lz4 brings down to about half. Gives the bytes of all databases. */
export async function makeData(bench: Bench): Promise<number> {
  await bench.sql('CREATE TABLE data (id bigint, digest text, kind text)')
  while ((await databaseBytes(bench)) < bench.bytes) {
    await bench.sql(
      `INSERT INTO data SELECT g, md5(g::text), repeat('kind ' || g % 100, 8) FROM generate_series(1, 200000) g`,
    )
  }
  await bench.sql('CHECKPOINT')
  return await databaseBytes(bench)
}

export function ourBackup(bench: Bench, store: readonly string[]): Program {
  const args = ['backup', '--url', urlOf(bench.server), ...store, '--fast', '--with-wal', '--log-level', 'error']
  return { file: bench.walferry, args }
}

/** With its WAL, as ours; null where there is none that compresses with lz4. */
export function theirBackup(bench: Bench, folder: string): Program | null {
  const { pg_basebackup: file } = bench.peers
  if (file === undefined || bench.server.binaries.major < 15) return null
  const { host, port, user } = bench.server.connection
  const place = ['-h', host, '-p', String(port), '-U', user, '-D', folder]
  return { file, args: [...place, '--format=tar', '--compress=client-lz4', '--wal-method=stream', '--checkpoint=fast'] }
}

/** Without its WAL; null before PostgreSQL 15. */
export function bareBackup(bench: Bench, folder: string): Program | null {
  if (bench.server.binaries.major < 15) return null
  const { host, port, user } = bench.server.connection
  return bareLoop('backup', host, String(port), user, folder)
}

export function archiveIn(bench: Bench): readonly string[] {
  return ['--store', join(bench.folder, 'archive')]
}

/** What a store of a base backup of so many bytes needs: it comes in parts, which are put together then. */
export function roomFor(bytes: number): number {
  return 1.25 * bytes
}

/** With the goals of a base backup, there and back, where the side is ours. */
export function judged(side: Side, isCompared: boolean): Side {
  if (!side.name.startsWith('walferry')) return side
  const atLeast: Goal[] = isCompared ? [{ figure: 'ratio', is: 'at least', limit: 1 }] : []
  return aimed(side, ...atLeast, { figure: 'peak MB', is: 'at most', limit: 256 })
}

async function databaseBytes(bench: Bench): Promise<number> {
  const [row] = await bench.sql('SELECT sum(pg_database_size(oid))::bigint AS bytes FROM pg_database')
  return Number(row?.['bytes'])
}
