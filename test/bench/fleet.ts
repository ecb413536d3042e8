/** fleet: many receivers on one machine, each of a small cluster that commits once a second, into one S3 store. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '../../src/kit/abort.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { query } from '../../src/cluster/query.ts'
import { Running, usageOf } from './measure.ts'
import type { Side } from './report.ts'
import { type S3, withS3 } from './s3.ts'
import { type Bench, type Benchmark, discard, signal, track, urlOf } from './server.ts'

const settleMs = 5000

interface Member {
  readonly server: Cluster
  readonly receiver: Running
}

interface Used {
  readonly ownMegabytes: number
  readonly peakMegabytes: number
  readonly cpuPercent: number
}

export const fleet: Benchmark = {
  what: 'memory and CPU of each of 1, 10 and 50 receivers of small clusters on one machine',
  run: async (bench) => {
    await bench.sql('CREATE TABLE commits (id bigint)')
    await bench.server.stop('fast', signal)
    const found = new Map<string, Used[]>()
    for (const count of bench.quick ? [1, 2] : [1, 10, 50]) {
      found.set(count === 1 ? '1 receiver' : `${count} receivers`, await measure(bench, count))
      bench.tick()
    }
    return [
      ...[...found].map(([name, used]): Side => {
        const values = used.map(({ ownMegabytes }) => ownMegabytes)
        const peakMegabytes = used.map((one) => one.peakMegabytes)
        return {
          name: `${name}, memory`,
          unit: 'MB each',
          less: true,
          against: '1 receiver, memory',
          values,
          peakMegabytes,
        }
      }),
      ...[...found].map(([name, used]): Side => {
        const values = used.map(({ cpuPercent }) => cpuPercent)
        return { name: `${name}, CPU`, unit: '% of a core each', less: true, against: '1 receiver, CPU', values }
      }),
    ]
  },
}

async function measure(bench: Bench, count: number): Promise<Used[]> {
  const folder = join(bench.folder, 'fleet')
  await mkdir(folder)
  return await withS3({}, async (s3) => {
    const members: Member[] = []
    try {
      for (let i = 0; i < count; i++) members.push(await makeMember(bench, s3, { folder, name: String(i) }))
      await commitFor(members, settleMs)
      const before = members.map(({ receiver }) => usageOf(receiver.pid).cpuSeconds)
      const startMs = performance.now()
      await commitFor(members, bench.quick ? 3000 : 30_000)
      const seconds = (performance.now() - startMs) / 1000
      return members.map(({ receiver }, i): Used => {
        const { cpuSeconds, ownMegabytes, peakMegabytes } = usageOf(receiver.pid)
        return { ownMegabytes, peakMegabytes, cpuPercent: ((cpuSeconds - (before[i] ?? 0)) / seconds) * 100 }
      })
    } finally {
      for (const { receiver } of members) receiver.stop()
      await Promise.allSettled(members.map(({ receiver }) => receiver.ended))
      for (const { server } of members) await discard(server)
      await rm(folder, { recursive: true, force: true })
    }
  })
}

/** A small server, and a receiver that streams from it. */
async function makeMember(bench: Bench, s3: S3, place: { folder: string; name: string }): Promise<Member> {
  const server = await Cluster.copyOf(bench.server, {
    folder: join(place.folder, `server-${place.name}`),
    tcp: true,
    signal,
    overrides: { shared_buffers: '8MB', max_connections: 10, max_wal_senders: 3 },
  })
  track(server)
  await server.start(signal)
  // Each its own archive, below the same bucket.
  const store = s3.args.map((arg) => (arg.startsWith('s3://') ? `${arg}/${place.name}` : arg))
  const spool = ['--spool', join(place.folder, `spool-${place.name}`)]
  const receiver = new Running({
    file: bench.walferry,
    args: ['receive', '--url', urlOf(server), ...spool, ...store, '--listen', '127.0.0.1:0', '--log-level', 'error'],
    env: s3.env,
  })
  const ended = receiver.ended.then(() => {
    throw new Error('the receiver ended before it streamed')
  })
  ended.catch(() => undefined)
  const isStreaming = async (): Promise<boolean> => {
    const rows = await query(server.connection, `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'`, signal)
    return rows.length === 1
  }
  for (const patience = AbortSignal.timeout(60_000); !(await isStreaming()); ) {
    await Promise.race([sleep(50, patience), ended])
  }
  return { server, receiver }
}

/** Commits to each of them, once a second, for that long. */
async function commitFor(members: readonly Member[], forMs: number): Promise<void> {
  const startMs = performance.now()
  for (let dueMs = startMs; dueMs < startMs + forMs; dueMs += 1000) {
    await Promise.all(members.map(({ server }) => query(server.connection, 'INSERT INTO commits VALUES (1)', signal)))
    await sleep(Math.max(0, dueMs + 1000 - performance.now()), signal)
  }
}
