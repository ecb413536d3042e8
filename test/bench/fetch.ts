/**
 * fetch: what restore_command costs for one segment: taken from those that were fetched ahead, which starts no Node.js, and
 * cold. Beside it `cp` of a plain segment, and a Node.js that does nothing.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '../../src/kit/abort.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { inTurn } from './in-turn.ts'
import { type Program, run } from './measure.ts'
import { isThere } from './peers.ts'
import { aimed } from './report.ts'
import { withS3 } from './s3.ts'
import { type Bench, type Benchmark, discard, signal, track } from './server.ts'
import { emptied, makeBacklog, ship } from './wal.ts'

const segmentBytes = 16 * 1024 ** 2
const prefetched = 'walferry-fetch, fetched ahead'
const dests = ['pg_wal/COPY', 'pg_wal/COLD', 'pg_wal/WALG', 'pg_wal/RECOVERYXLOG']

/** The program that a side runs for a segment, and what has to be true before. */
interface Fetching {
  readonly name: string
  readonly goalMs?: number
  readonly program: (segment: string) => Program
  readonly before?: (segment: string) => Promise<void>
}

export const fetch: Benchmark = {
  what: 'restore_command for one segment; goal: below 10 ms if it was fetched ahead, below 250 ms cold',
  run: async (bench) => {
    const calls = bench.quick ? 3 : 4 * bench.rounds
    const backlog = await makeBacklog(bench, 'bench_base', (calls + 2) * segmentBytes)
    const first = segnoOf(parseLsn(backlog.from), segmentBytes)
    const names = Array.from({ length: calls + 2 }, (_, i) =>
      segmentName({ timeline: 1, segno: first + i }, segmentBytes),
    )
    await emptied(bench, 'archive')
    const folder = ['--store', join(bench.folder, 'archive')]
    return await withS3({}, async (s3) => {
      for (const [store, env] of [
        [folder, {}],
        [s3.args, s3.env],
      ] as const) {
        await ship(bench, backlog, store, env)
      }
      await bench.server.stop('fast', signal)
      const recovering = await recoveringServer(bench)
      const cwd = recovering.dataFolder
      const cold = (name: string, store: readonly string[], env: Readonly<Record<string, string>>): Fetching => ({
        name,
        goalMs: 250,
        program: (segment) => ({ file: bench.walferry, args: ['fetch', segment, 'pg_wal/COLD', ...store], env, cwd }),
      })
      const plain = join(bench.server.dataFolder, 'pg_wal')
      const walg = bench.peers['wal-g']
      const sides: Fetching[] = [
        { name: 'cp', program: (segment) => ({ file: 'cp', args: [join(plain, segment), 'pg_wal/COPY'], cwd }) },
        { name: 'node -e 0', program: () => ({ file: process.execPath, args: ['-e', '0'] }) },
        aheadOfTime(bench, cwd, folder),
        cold('walferry fetch, a folder', folder, {}),
        cold('walferry fetch, S3 on loopback', s3.args, s3.env),
        ...(walg === undefined
          ? []
          : [
              {
                name: 'wal-g wal-fetch, a folder',
                program: (segment: string) => ({
                  file: walg,
                  args: ['wal-fetch', segment, join(cwd, 'pg_wal/WALG')],
                  env: { WALG_FILE_PREFIX: join(bench.folder, 'archive'), WALG_DOWNLOAD_CONCURRENCY: '1' },
                }),
              },
            ]),
      ]
      let call = -1
      // The first call of each finds cold caches, and starts what fetches ahead.
      const found = await inTurn({ ...bench, rounds: calls }, sides, async (side) => {
        if (side === sides[0]) call++
        const segment = names[call] ?? ''
        if (call > 0) await side.before?.(segment)
        // The server has moved the one before to its place. To write over it would take ten times as long as the rest.
        for (const dest of dests) await rm(join(cwd, dest), { force: true })
        return await run(side.program(segment))
      })
      await run({ file: bench.walferryFetch, args: ['--cleanup'], cwd })
      await discard(recovering)
      return sides.map(({ name, goalMs }) => {
        const { runs, cpuSeconds, peakMegabytes } = found(name)
        const values = runs.map(({ seconds }) => seconds * 1000)
        const side = { name, unit: 'ms', less: true, values, cpuSeconds, peakMegabytes }
        return goalMs === undefined ? side : aimed(side, { figure: 'median', is: 'at most', limit: goalMs })
      })
    })
  },
}

/** As the server calls it; the next segments are fetched behind its back. */
function aheadOfTime(bench: Bench, cwd: string, store: readonly string[]): Fetching {
  return {
    name: prefetched,
    goalMs: 10,
    program: (segment) => ({ file: bench.walferryFetch, args: [segment, 'pg_wal/RECOVERYXLOG', ...store], cwd }),
    before: async (segment) => {
      const path = join(cwd, 'pg_wal/.walferry-prefetch', segment)
      for (const patience = AbortSignal.timeout(60_000); !(await isThere(path)); ) await sleep(5, patience)
    },
  }
}

/** The data folder of a server that recovers, as restore_command sees it; in the server's place, we run. */
async function recoveringServer(bench: Bench): Promise<Cluster> {
  const copy = await Cluster.copyOf(bench.server, { folder: join(bench.folder, 'recovering'), signal })
  track(copy)
  await rm(join(copy.dataFolder, 'pg_wal'), { recursive: true })
  await mkdir(join(copy.dataFolder, 'pg_wal'))
  const lines = [process.pid, copy.dataFolder, 1_700_000_000, 5432, '/tmp', '', '  1  2', 'starting']
  await writeFile(join(copy.dataFolder, 'postmaster.pid'), `${lines.join('\n')}\n`)
  await writeFile(join(copy.dataFolder, 'recovery.signal'), '')
  return copy
}
