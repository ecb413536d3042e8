/**
 * rpo: what would be lost: the time from a commit to the moment at which the store alone could bring it back. Each answer
 * of the store takes 50 ms, about as long as that of one far away.
 */
import pg from 'pg'
import { sleep } from '../../src/kit/abort.ts'
import { parseLsn, type Lsn } from '../../src/wal/lsn.ts'
import { durableAt, growthOf, type Reached } from './durable-at.ts'
import { quantileOf, spreadOf, usageOf } from './measure.ts'
import type { Side } from './report.ts'
import { prefix, type S3, withS3 } from './s3.ts'
import type { Bench, Benchmark } from './server.ts'
import { emptied, flushed, receiving, withReceiver } from './wal.ts'

const latencyMs = 50
const slot = 'bench_rpo'
const segmentBytes = 16 * 1024 ** 2
const loads = [
  { name: '10 commits/s', rate: 10, clients: 1 },
  { name: '500 commits/s', rate: 500, clients: 8 },
  { name: 'all it can', rate: null, clients: 16 },
] as const
const variants = [
  { name: 'the defaults', args: [], medianSeconds: 0.7, mostSeconds: 1.5 },
  {
    name: '--ship-interval 0',
    args: ['--ship-interval', '0'],
    medianSeconds: (3 * latencyMs) / 1000,
    mostSeconds: null,
  },
] as const

type Load = (typeof loads)[number]
type Variant = (typeof variants)[number]

/** One commit of those that are looked at. */
interface Committed {
  readonly lsn: Lsn
  readonly atMs: number
}

class Found {
  readonly load: Load
  readonly variant: Variant
  readonly medians: number[] = []
  readonly mosts: number[] = []
  readonly rates: number[] = []
  readonly cpuSeconds: number[] = []
  readonly peakMegabytes: number[] = []

  constructor(load: Load, variant: Variant) {
    this.load = load
    this.variant = variant
  }
}

export const rpo: Benchmark = {
  what: 'from a commit to durable in a store 50 ms away; goal: median below 0.7 s, 99 % below 1.5 s; with --ship-interval 0 median below 3 of its answers',
  run: async (bench) => {
    await bench.sql('CREATE TABLE commits (id bigint, payload text)')
    const found = loads.flatMap((load) => variants.map((variant) => new Found(load, variant)))
    for (let round = 0; round < bench.rounds; round++) {
      for (const one of found) {
        await measureOne(bench, one)
        bench.tick()
      }
    }
    return found.flatMap((one) => sidesOf(one))
  },
}

function sidesOf({ load, variant, medians, mosts, rates, cpuSeconds, peakMegabytes }: Found): Side[] {
  const name = `${load.name}, ${variant.name}`
  const common = { unit: 's', less: true, against: null }
  const most = { ...common, name: `${name}: 99 %`, values: mosts }
  const { medianSeconds, mostSeconds } = variant
  return [
    {
      ...common,
      name: `${name} (${Math.round(spreadOf(rates).median)}/s): median`,
      values: medians,
      cpuSeconds,
      peakMegabytes,
      goals: [{ figure: 'median', is: 'at most', limit: medianSeconds }],
    },
    mostSeconds === null ? most : { ...most, goals: [{ figure: 'median', is: 'at most', limit: mostSeconds }] },
  ]
}

async function measureOne(bench: Bench, found: Found): Promise<void> {
  await emptied(bench, 'target')
  await withS3({ latencyMs }, async (s3) => {
    const { file, args } = receiving(bench, slot, s3.args)
    const program = { file, args: [...args, ...found.variant.args], env: s3.env }
    await withReceiver(bench, slot, program, async (receiver) => {
      const from = parseLsn(await flushed(bench))
      const seconds = bench.quick ? 3 : 10
      const before = usageOf(receiver.pid).cpuSeconds
      const { committed, count } = await commitFor(bench, found.load, seconds * 1000)
      const after = usageOf(receiver.pid)
      found.rates.push(count / seconds)
      found.cpuSeconds.push(after.cpuSeconds - before)
      found.peakMegabytes.push(after.peakMegabytes)
      const growth = await untilDurable(s3, from, parseLsn(await flushed(bench)))
      const waits = committed.map(({ lsn, atMs }) => ((durableAt(growth, lsn) ?? NaN) - atMs) / 1000)
      found.medians.push(quantileOf(waits, 0.5))
      found.mosts.push(quantileOf(waits, 0.99))
    })
  })
}

/** How the archive has grown, once it holds everything before `end`. */
async function untilDurable(s3: S3, from: Lsn, end: Lsn): Promise<Reached[]> {
  const patience = AbortSignal.timeout(120_000)
  for (;;) {
    const { stored } = await s3.ask({ ask: 'stored' })
    // A receiver begins at the start of a segment.
    const growth = growthOf(stored, { from, segmentBytes, keyPrefix: prefix })
    if (durableAt(growth, end) !== null) return growth
    await sleep(100, patience)
  }
}

/** Commits for that long, and looks at some hundred of them: where the WAL ends with each, and when it was acknowledged. */
async function commitFor(bench: Bench, load: Load, forMs: number): Promise<{ committed: Committed[]; count: number }> {
  const clients = Array.from(
    { length: load.clients },
    () => new pg.Client({ ...bench.server.connection, password: '', ssl: false }),
  )
  await Promise.all(clients.map((client) => client.connect()))
  const committed: Committed[] = []
  let count = 0
  const startMs = performance.now()
  const everyMs = load.rate === null ? 0 : (1000 / load.rate) * load.clients
  // A look costs a round trip to the server, which would else be spent on commits.
  const looks = load.rate === 10 ? 1 : 10
  try {
    await Promise.all(
      clients.map(async (client, i) => {
        // Not all at once.
        let dueMs = startMs + (everyMs * i) / load.clients
        for (let n = 0; performance.now() - startMs < forMs; n++) {
          const waitMs = dueMs - performance.now()
          if (waitMs > 0) await sleep(waitMs, AbortSignal.timeout(60_000))
          dueMs += everyMs
          await client.query({
            name: 'insert',
            text: 'INSERT INTO commits VALUES ($1, $2)',
            values: [n, 'x'.repeat(100)],
          })
          count++
          if (n % looks !== 0) continue
          const atMs = Date.now()
          const { rows } = await client.query<{ lsn: string }>({
            name: 'look',
            text: 'SELECT pg_current_wal_flush_lsn()::text AS lsn',
          })
          committed.push({ lsn: parseLsn(rows[0]?.lsn ?? ''), atMs })
        }
      }),
    )
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
  return { committed, count }
}
