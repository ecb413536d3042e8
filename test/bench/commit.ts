/**
 * commit: how fast commits are that wait for us as the synchronous standby, with one client and with sixteen; and beside it
 * the least that a standby in Node.js can do.
 */
import { join } from 'node:path'
import pg from 'pg'
import { bareLoop, bareLoopName } from './floor.ts'
import { type MachineTime, machineTime, type Program, spreadOf, timeSince, usageOf } from './measure.ts'
import { aimed } from './report.ts'
import type { Bench, Benchmark } from './server.ts'
import { emptied, flushed, receiving, spoolOf, withReceiver } from './wal.ts'

const slot = 'bench_commit'
/** A receiver runs for months: until its code has been compiled, which takes a few seconds, is not what is measured. */
const warmUpCommits = 4000
const clients = 16
const ours = 'walferry'
const peerName = 'pg_receivewal --synchronous'

export const commit: Benchmark = {
  what: "commits that wait for us as synchronous standby; goal: pg_receivewal's rate at 16 clients, 1.2 times its latency at one",
  run: async (bench) => {
    await bench.sql('CREATE TABLE commits (id bigint, payload text)')
    const sides = standbys(bench)
    const found = sides.map(() => ({ latencies: [] as number[], many: [] as Many[] }))
    for (let round = 0; round < bench.rounds; round++) {
      for (const [i, { program }] of sides.entries()) {
        await emptied(bench, 'target', 'archive')
        await withReceiver(bench, slot, await program(), async ({ pid }) => {
          const { latency, many } = await whileSynchronous(bench, pid)
          found[i]?.latencies.push(latency)
          found[i]?.many.push(many)
        })
        bench.tick()
      }
    }
    return [
      ...sides.map(({ name }, i) => {
        const values = found[i]?.latencies ?? []
        const side = {
          name: `${name}, 1 client`,
          unit: 'ms a commit',
          values,
          less: true,
          against: `${peerName}, 1 client`,
        }
        return name === ours ? aimed(side, { figure: 'ratio', is: 'at most', limit: 1.2 }) : side
      }),
      ...sides.map(({ name }, i) => {
        const many = found[i]?.many ?? []
        const side = {
          name: `${name}, 16 clients`,
          unit: 'commits/s',
          values: many.map(({ rate }) => rate),
          against: `${peerName}, 16 clients`,
          machine: many.map(({ machine }) => machine),
          note: `${median(many.map((one) => one.cpuMicroseconds))} us of CPU a commit, ${median(many.map((one) => one.machineMicroseconds))} with servers and clients`,
        }
        return name === ours ? aimed(side, { figure: 'ratio', is: 'at least', limit: 1 }) : side
      }),
    ]
  },
}

interface Standby {
  readonly name: string
  readonly program: () => Promise<Program>
}

function standbys(bench: Bench): Standby[] {
  const { host, port, user } = bench.server.connection
  const place = [host, String(port), user, slot]
  const nodeOnly = async (): Promise<Program> =>
    bareLoop('standby', ...place, await flushed(bench), join(spoolOf(bench), 'stream'))
  const all = [
    { name: ours, program: async () => receiving(bench, slot, ['--store', join(bench.folder, 'archive')]) },
    { name: bareLoopName, program: nodeOnly },
  ]
  const { pg_receivewal: file } = bench.peers
  if (file === undefined) return all
  const args = ['-h', host, '-p', String(port), '-U', user, '-D', spoolOf(bench), '-S', slot]
  return [{ name: peerName, program: async () => ({ file, args: [...args, '--synchronous', '--no-loop'] }) }, ...all]
}

/** What sixteen clients came to. */
interface Many {
  /** Commits a second. */
  readonly rate: number
  /** Of the standby, for each commit. */
  readonly cpuMicroseconds: number
  /** Of whatever ran, for each commit. */
  readonly machineMicroseconds: number
  readonly machine: MachineTime
}

/** The median latency of one client's commits, and what sixteen come to. */
async function whileSynchronous(bench: Bench, standby: number): Promise<{ latency: number; many: Many }> {
  await bench.sql(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
  await bench.sql('SELECT pg_reload_conf()')
  try {
    const alone = await commits(bench, bench.quick ? 100 : 1000, bench.quick ? 100 : warmUpCommits)
    const each = bench.quick ? 50 : 2500
    // What comes for many in one read takes other ways through the code.
    await atOnce(bench, bench.quick ? 10 : 500)
    const before = { cpu: usageOf(standby).cpuSeconds, machine: machineTime(), ms: performance.now() }
    await atOnce(bench, each)
    const commitsInAll = clients * each
    const machine = timeSince(before.machine)
    const many = {
      rate: commitsInAll / ((performance.now() - before.ms) / 1000),
      cpuMicroseconds: ((usageOf(standby).cpuSeconds - before.cpu) * 1e6) / commitsInAll,
      machineMicroseconds: (machine.busySeconds * 1e6) / commitsInAll,
      machine,
    }
    return { latency: spreadOf(alone).median, many }
  } finally {
    await bench.sql('ALTER SYSTEM RESET synchronous_standby_names')
    await bench.sql('SELECT pg_reload_conf()')
  }
}

async function atOnce(bench: Bench, each: number): Promise<void> {
  await Promise.all(Array.from({ length: clients }, async () => await commits(bench, each, 0)))
}

function median(values: readonly number[]): string {
  return spreadOf(values).median.toFixed(0)
}

async function commits(bench: Bench, count: number, warmUps: number): Promise<number[]> {
  const client = new pg.Client({ ...bench.server.connection, password: '', ssl: false })
  await client.connect()
  try {
    const found: number[] = []
    for (let n = 0; n < warmUps + count; n++) {
      const startedMs = performance.now()
      await client.query({ name: 'insert', text: 'INSERT INTO commits VALUES ($1, $2)', values: [n, 'x'.repeat(100)] })
      if (n >= warmUps) found.push(performance.now() - startedMs)
    }
    return found
  } finally {
    await client.end()
  }
}
