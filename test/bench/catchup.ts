/**
 * catchup: a backlog of 2 GB from a slot, synced into a local folder. pg_receivewal against our receiver and spool, and
 * against the whole program, which also compresses the WAL and ships it into a directory.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Measured, Program } from './measure.ts'
import { Running } from './measure.ts'
import type { Side } from './report.ts'
import type { Bench } from './server.ts'

const backlogBytes = 2 * 1024 ** 3
const baseSlot = 'bench_base'
const runSlot = 'bench_run'

export async function catchup(bench: Bench, rounds: number): Promise<Side[]> {
  const { endpos, bytes } = await makeBacklog(bench)
  const sides = programs(bench, endpos)
  const measured = new Map<string, Measured[]>(sides.map(({ name }) => [name, []]))
  // One round more than is counted: the first one finds cold caches.
  for (let round = 0; round <= rounds; round++) {
    for (const { name, program } of sides) {
      const one = await runOnce(bench, program)
      if (round > 0) measured.get(name)?.push(one)
      process.stdout.write('.')
    }
  }
  process.stdout.write('\n')
  return [...measured].map(([name, runs]) => ({
    name,
    unit: 'MB/s',
    values: runs.map((run) => bytes / 1e6 / run.seconds),
    cpuSecondsPerGigabyte: runs.map((run) => run.cpuSeconds / (bytes / 1e9)),
    peakMegabytes: runs.map((run) => run.peakMegabytes),
  }))
}

async function makeBacklog(bench: Bench): Promise<{ endpos: string; bytes: number }> {
  await bench.sql(`SELECT pg_create_physical_replication_slot('${baseSlot}', true)`)
  const [start] = await bench.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn')
  await bench.sql('CREATE TABLE backlog (id bigint, payload text)')
  const written = async (): Promise<number> => {
    const [row] = await bench.sql(`SELECT pg_current_wal_flush_lsn() - '${String(start?.['lsn'])}'::pg_lsn AS bytes`)
    return Number(row?.['bytes'])
  }
  while ((await written()) < backlogBytes) {
    await bench.sql(`INSERT INTO backlog SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 200000) g`)
  }
  await bench.sql('CHECKPOINT')
  const [end] = await bench.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn')
  return { endpos: String(end?.['lsn']), bytes: await written() }
}

function programs(bench: Bench, endpos: string): { name: string; program: Program }[] {
  const { host, port, user } = bench.server.connection
  const url = `postgres://${user}@${host}:${port}/`
  const folder = join(bench.folder, 'target')
  const ours = { UV_THREADPOOL_SIZE: '16' }
  const receiveOnly = join(import.meta.dirname, 'receive-only.js')
  const sides = [
    {
      name: 'walferry, spool only',
      program: { file: process.execPath, args: [receiveOnly, url, runSlot, folder, endpos], env: ours },
    },
    {
      name: 'walferry, compressed and shipped',
      program: {
        file: bench.walferry,
        args: [
          'receive',
          '--url',
          url,
          '--slot',
          runSlot,
          '--spool',
          folder,
          '--store',
          join(bench.folder, 'archive'),
          '--endpos',
          endpos,
          '--no-loop',
          '--listen',
          'off',
          '--log-level',
          'error',
        ],
      },
    },
  ]
  if (bench.receivewal === null) return sides
  const args = ['-h', host, '-p', String(port), '-U', user, '-D', folder, '-S', runSlot, '-E', endpos, '--no-loop']
  return [{ name: 'pg_receivewal', program: { file: bench.receivewal, args } }, ...sides]
}

async function runOnce(bench: Bench, program: Program): Promise<Measured> {
  for (const name of ['target', 'archive']) {
    await rm(join(bench.folder, name), { recursive: true, force: true })
    await mkdir(join(bench.folder, name))
  }
  await bench.sql(`SELECT pg_copy_physical_replication_slot('${baseSlot}', '${runSlot}')`)
  try {
    return await new Running(program).ended
  } finally {
    await bench.sql(`SELECT pg_drop_replication_slot('${runSlot}')`)
  }
}
