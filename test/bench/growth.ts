/**
 * growth: how many requests an operation makes, and what it takes, with more and more segments in the archive. The newest
 * ones are a server's; those before them are names with nothing behind them, which no operation reads.
 */
import { join } from 'node:path'
import { run as runCommand, serverEnvironment } from '../../src/cluster/run.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { type Program, run } from './measure.ts'
import { isThere } from './peers.ts'
import type { Side } from './report.ts'
import { kindsBetween, prefix, requestsOf, type S3, withS3 } from './s3.ts'
import { type Bench, type Benchmark, signal } from './server.ts'
import { type Backlog, dropSlot, emptied, flushed, makeBacklog, ship, shipping } from './wal.ts'

const segmentBytes = 16 * 1024 ** 2
/** Behind a million others. */
const firstSegment = segmentName({ timeline: 1, segno: 2 ** 20 }, segmentBytes)

interface Operation {
  readonly name: string
  /** Requests do not grow with the archive. */
  readonly isConstant: boolean
  readonly once: (s3: S3) => Promise<{ cpuSeconds: number; peakMegabytes: number }>
}

export const growth: Benchmark = {
  what: 'requests of an operation with 10, 10,000 and 1,000,000 objects; goal: constant for fetch and the start of receive',
  run: async (bench) => {
    if (!(await skipAhead(bench))) {
      process.stdout.write(`skipped: ${bench.server.binaries.binDir} has no pg_resetwal\n`)
      return []
    }
    const backlog = await makeBacklog(bench, 'bench_base', 3 * segmentBytes)
    const sizes = bench.quick ? [10, 10_000] : [10, 10_000, 1_000_000]
    const sides: Side[] = []
    for (const operation of operationsOn(bench, backlog)) {
      for (const size of sizes) {
        sides.push(await measure(bench, backlog, operation, { size, smallest: sizes[0] ?? 0 }))
        bench.tick()
      }
    }
    return sides
  },
}

async function measure(
  bench: Bench,
  backlog: Backlog,
  { name, isConstant, once }: Operation,
  { size, smallest }: { size: number; smallest: number },
): Promise<Side> {
  return await withS3({}, async (s3) => {
    await ship(bench, backlog, s3.args, s3.env)
    const { objects } = await s3.ask({ ask: 'tally' })
    const count = Math.max(0, size - objects)
    const from = segnoOf(parseLsn(backlog.from), segmentBytes) - count
    const before = await s3.ask({ ask: 'fill', from, count, segmentBytes, prefix })
    const { cpuSeconds, peakMegabytes } = await once(s3)
    const after = await s3.ask({ ask: 'tally' })
    return {
      name: `${name}, ${before.objects} objects`,
      unit: 'requests',
      less: true,
      values: [requestsOf(after) - requestsOf(before)],
      cpuSeconds: [cpuSeconds],
      peakMegabytes: [peakMegabytes],
      note: kindsBetween(before, after),
      against: size === smallest ? null : `${name}, ${smallest} objects`,
      goals: isConstant && size !== smallest ? [{ figure: 'ratio', is: 'at most', limit: 1 }] : [],
    }
  })
}

function operationsOn(bench: Bench, backlog: Backlog): Operation[] {
  const asked = (args: readonly string[]) => async (s3: S3) => await run(ours(bench, args, s3))
  const segment = segmentName({ timeline: 1, segno: segnoOf(parseLsn(backlog.from), segmentBytes) + 1 }, segmentBytes)
  const fetched = ['fetch', segment, join(bench.folder, 'FETCHED')]
  return [
    { name: 'fetch', isConstant: true, once: asked(fetched) },
    { name: 'receive, from an empty spool', isConstant: true, once: async (s3) => await started(bench, s3) },
    { name: 'status', isConstant: false, once: asked(['status', '--listen', 'off']) },
    { name: 'list', isConstant: false, once: asked(['list']) },
  ]
}

function ours(bench: Bench, args: readonly string[], { args: store, env }: S3): Program {
  return { file: bench.walferry, args: [...args, ...store], env, cwd: bench.folder }
}

/** A receiver that finds out where the archive ends, streams a commit, and stops. */
async function started(bench: Bench, s3: S3) {
  const slot = 'bench_start'
  await emptied(bench, 'target')
  await bench.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  try {
    await bench.sql('SELECT pg_logical_emit_message(true, $$bench$$, $$one$$)')
    return await run({ ...shipping(bench, { slot, endpos: await flushed(bench) }, s3.args), env: s3.env })
  } finally {
    await dropSlot(bench, slot)
  }
}

/** Lets the server's WAL begin far behind what it would; false where there is no program for it. */
async function skipAhead(bench: Bench): Promise<boolean> {
  const { server } = bench
  const program = join(server.binaries.binDir, 'pg_resetwal')
  if (!(await isThere(program))) return false
  await server.stop('fast', signal)
  const env = serverEnvironment(server.folder)
  await runCommand(program, ['-l', firstSegment, server.dataFolder], {
    signal,
    asServer: true,
    cwd: server.folder,
    env,
  })
  await server.start(signal)
  return true
}
