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
/**
 * A receiver runs for months: until its code has been compiled as far as it ever will be, which takes some 20 s of commits,
 * is not what is measured. Two seconds are not enough: then a commit takes 28 us of our CPU time, and 20 behind 25 seconds.
 */
const warmUpCommits = 250_000
const manyClients = 16
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
          name: `${name}, ${manyClients} clients`,
          unit: 'commits/s',
          values: many.map(({ rate }) => rate),
          against: `${peerName}, ${manyClients} clients`,
          machine: many.map(({ machine }) => machine),
          peakMegabytes: many.map(({ peakMegabytes }) => peakMegabytes),
          note: costOf(many),
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
  /** Of the standby, since it began. */
  readonly peakMegabytes: number
}

function costOf(many: readonly Many[]): string {
  const [own, all] = [many.map((one) => one.cpuMicroseconds), many.map((one) => one.machineMicroseconds)]
  return `${medianText(own)} us of CPU a commit, ${medianText(all)} with the server and the clients`
}

/** The median latency of one client's commits, and what sixteen come to. */
async function whileSynchronous(bench: Bench, standby: number): Promise<{ latency: number; many: Many }> {
  await bench.sql(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
  await bench.sql('SELECT pg_reload_conf()')
  try {
    await withClients(bench, manyClients, (clients) =>
      insert(clients, (bench.quick ? 160 : warmUpCommits) / manyClients),
    )
    // Each begins with the same: an empty table, nothing to write back, a new segment.
    await bench.sql('TRUNCATE commits')
    await bench.sql('CHECKPOINT')
    await bench.sql('SELECT pg_switch_wal()')
    const alone = await withClients(bench, 1, async (clients) => {
      // What comes for one in one read takes other ways through the code.
      await insert(clients, bench.quick ? 100 : 2000)
      return await insert(clients, bench.quick ? 100 : 1000)
    })
    const many = await withClients(bench, manyClients, async (clients) => {
      await insert(clients, bench.quick ? 10 : 500)
      const before = { cpu: usageOf(standby).cpuSeconds, machine: machineTime(), ms: performance.now() }
      const { length } = await insert(clients, bench.quick ? 50 : 2500)
      const seconds = (performance.now() - before.ms) / 1000
      const machine = timeSince(before.machine)
      const { cpuSeconds, peakMegabytes } = usageOf(standby)
      return {
        rate: length / seconds,
        cpuMicroseconds: ((cpuSeconds - before.cpu) * 1e6) / length,
        machineMicroseconds: (machine.busySeconds * 1e6) / length,
        machine,
        peakMegabytes,
      }
    })
    return { latency: spreadOf(alone).median, many }
  } finally {
    await bench.sql('ALTER SYSTEM RESET synchronous_standby_names')
    await bench.sql('SELECT pg_reload_conf()')
  }
}

async function withClients<T>(bench: Bench, count: number, work: (clients: pg.Client[]) => Promise<T>): Promise<T> {
  const clients = Array.from(
    { length: count },
    () => new pg.Client({ ...bench.server.connection, password: '', ssl: false }),
  )
  try {
    await Promise.all(clients.map(async (client) => await client.connect()))
    return await work(clients)
  } finally {
    await Promise.all(clients.map(async (client) => await client.end()))
  }
}

/** Commits so often with each client, all at once, and gives what each commit took, in ms. */
async function insert(clients: readonly pg.Client[], each: number): Promise<number[]> {
  const text = 'INSERT INTO commits VALUES ($1, $2)'
  const found = await Promise.all(
    clients.map(async (client) => {
      const took: number[] = []
      for (let n = 0; n < each; n++) {
        const startedMs = performance.now()
        await client.query({ name: 'insert', text, values: [n, 'x'.repeat(100)] })
        took.push(performance.now() - startedMs)
      }
      return took
    }),
  )
  return found.flat()
}

function medianText(values: readonly number[]): string {
  return spreadOf(values).median.toFixed(0)
}
