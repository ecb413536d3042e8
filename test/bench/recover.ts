/**
 * recover: the time that a server needs to replay WAL through restore_command: from S3 on loopback, and by `cp` from a
 * local folder of the plain segments. It is what the server itself says when it is done. And the memory that restore_command,
 * and what it leaves in the background, take meanwhile, in one run more of each.
 */
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '../../src/kit/abort.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { inTurn } from './in-turn.ts'
import { watchMemory } from './measure.ts'
import { aimed, type Side } from './report.ts'
import { withS3 } from './s3.ts'
import { type Bench, type Benchmark, discard, signal, track } from './server.ts'
import { emptied, makeBacklog, ship } from './wal.ts'

interface Way {
  readonly name: string
  readonly command: string
  readonly env: Readonly<Record<string, string>>
}

interface Replayed {
  readonly seconds: number
  /** Of restore_command and what it leaves in the background; null where it was not watched, or cannot be. */
  readonly peakMegabytes: number | null
}

export const recover: Benchmark = {
  what: 'a replay of 1 GB through restore_command from S3 on loopback; goal: 1.15 times as long as by cp from plain files',
  run: async (bench) => {
    const plain = join(bench.folder, 'plain')
    const before = await stoppedCopy(bench)
    await emptied(bench, 'plain', 'archive')
    await chmod(plain, 0o777)
    await bench.server.configure({ archive_mode: true, archive_command: `cp %p ${plain}/%f` })
    await bench.server.start(signal)
    const backlog = await makeBacklog(bench, 'bench_base', (bench.quick ? 64 : 1024) * 1024 ** 2)
    await untilArchived(bench, backlog.endpos)
    return await withS3({}, async (s3) => {
      const folder = ['--store', join(bench.folder, 'archive')]
      await ship(bench, backlog, s3.args, s3.env)
      await ship(bench, backlog, folder, {})
      const fetch = (store: readonly string[]): string => `${bench.walferryFetch} %f %p ${store.join(' ')}`
      const ways: Way[] = [
        { name: 'cp of plain segments', command: `cp ${plain}/%f %p`, env: {} },
        { name: 'walferry-fetch, a folder', command: fetch(folder), env: {} },
        { name: 'walferry-fetch, S3 on loopback', command: fetch(s3.args), env: s3.env },
      ]
      // What replays is the server; its restore_command's CPU time is in nobody's children.
      const found = await inTurn(bench, ways, async (way) => {
        const { seconds } = await replay(bench, before, way)
        return { seconds, cpuSeconds: 0, peakMegabytes: 0, machine: { busySeconds: 0, idleSeconds: 0 } }
      })
      const sides: Side[] = []
      for (const way of ways) {
        const { peakMegabytes } = await replay(bench, before, way, true)
        const values = found(way.name).runs.map(({ seconds }) => seconds)
        const peak = peakMegabytes === null ? {} : { peakMegabytes: [peakMegabytes] }
        sides.push({ name: way.name, unit: 's', less: true, values, ...peak })
      }
      return sides.map((side, i) => (i === 0 ? side : aimed(side, { figure: 'ratio', is: 'at most', limit: 1.15 })))
    })
  },
}

/** The data folder before all of the WAL. The server stays stopped. */
async function stoppedCopy(bench: Bench): Promise<Cluster> {
  await bench.server.stop('fast', signal)
  const copy = await Cluster.copyOf(bench.server, { folder: join(bench.folder, 'before'), signal })
  track(copy)
  return copy
}

async function untilArchived(bench: Bench, endpos: string): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const [row] = await bench.sql(
      `SELECT last_archived_wal >= pg_walfile_name('${endpos}'::pg_lsn - 1) AS found FROM pg_stat_archiver`,
    )
    return row?.['found'] === true
  }
  for (const patience = AbortSignal.timeout(300_000); !(await isThere()); ) await sleep(100, patience)
}

/** From the first record to the last, with what the server waits for restore_command. */
async function replay(bench: Bench, before: Cluster, { command, env }: Way, isWatched = false): Promise<Replayed> {
  const place = { folder: join(bench.folder, 'recovering'), tcp: true, env, signal }
  const server = await Cluster.copyOf(before, place)
  track(server)
  const peak = isWatched ? watchMemory(server.dataFolder, 'postgres') : (): null => null
  try {
    await server.setRecovery('recovery', { archive_mode: false, restore_command: command })
    await server.launch(signal)
    const done = await server.waitForLog(/redo done at .* elapsed: ([\d.]+) s/, AbortSignal.timeout(600_000))
    return { seconds: Number(done[1]), peakMegabytes: peak() }
  } finally {
    peak()
    await discard(server)
  }
}
