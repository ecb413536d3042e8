/** commit: the latency of a commit that waits for us as the synchronous standby, one client. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { sleep } from '../../src/kit/abort.ts'
import { type Program, Running, spreadOf } from './measure.ts'
import type { Side } from './report.ts'
import type { Bench } from './server.ts'

const commitsPerRun = 1000
const warmUpCommits = 200
const slot = 'bench_commit'

export async function commit(bench: Bench, rounds: number): Promise<Side[]> {
  await bench.sql('CREATE TABLE commits (id bigint, payload text)')
  const { host, port, user } = bench.server.connection
  const url = `postgres://${user}@${host}:${port}/`
  const folder = join(bench.folder, 'commit')
  const archive = join(bench.folder, 'commit-archive')
  const sides: { name: string; program: Program }[] = [
    {
      name: 'walferry',
      program: {
        file: bench.walferry,
        args: [
          'receive',
          '--url',
          url,
          '--slot',
          slot,
          '--spool',
          folder,
          '--store',
          archive,
          '--listen',
          'off',
          '--log-level',
          'error',
        ],
      },
    },
  ]
  if (bench.receivewal !== null) {
    const args = ['-h', host, '-p', String(port), '-U', user, '-D', folder, '-S', slot, '--synchronous', '--no-loop']
    sides.unshift({ name: 'pg_receivewal --synchronous', program: { file: bench.receivewal, args } })
  }
  const latencies = new Map<string, number[]>(sides.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const { name, program } of sides) {
      await rm(folder, { recursive: true, force: true })
      await rm(archive, { recursive: true, force: true })
      await mkdir(folder)
      await mkdir(archive)
      latencies.get(name)?.push(spreadOf(await measureOne(bench, program)).median)
      process.stdout.write('.')
    }
  }
  process.stdout.write('\n')
  return [...latencies].map(([name, values]) => ({ name, unit: 'ms a commit (median of a run)', values, less: true }))
}

async function measureOne(bench: Bench, program: Program): Promise<number[]> {
  await bench.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  const standby = new Running(program)
  try {
    await untilStreaming(bench, standby)
    await bench.sql(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
    await bench.sql('SELECT pg_reload_conf()')
    return await commits(bench)
  } finally {
    await bench.sql('ALTER SYSTEM RESET synchronous_standby_names')
    await bench.sql('SELECT pg_reload_conf()')
    standby.stop()
    await standby.ended.catch(() => undefined)
    await bench.sql(`SELECT pg_drop_replication_slot('${slot}')`)
  }
}

async function untilStreaming(bench: Bench, standby: Running): Promise<void> {
  const ended = standby.ended.then(() => {
    throw new Error('the receiver ended before it streamed')
  })
  for (;;) {
    const [row] = await bench.sql(
      `SELECT count(*)::int AS n FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn = pg_current_wal_flush_lsn()`,
    )
    if (row?.['n'] === 1) return
    await Promise.race([sleep(20, AbortSignal.timeout(60_000)), ended])
  }
}

async function commits(bench: Bench): Promise<number[]> {
  const client = new pg.Client({ ...bench.server.connection, password: '', ssl: false })
  await client.connect()
  try {
    const found: number[] = []
    for (let n = 0; n < warmUpCommits + commitsPerRun; n++) {
      const startedMs = performance.now()
      await client.query({ name: 'insert', text: 'INSERT INTO commits VALUES ($1, $2)', values: [n, 'x'.repeat(100)] })
      if (n >= warmUpCommits) found.push(performance.now() - startedMs)
    }
    return found
  } finally {
    await client.end()
  }
}
