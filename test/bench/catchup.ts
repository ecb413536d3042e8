/** catchup: a backlog from a slot, synced into a local folder: pg_receivewal against our receiver and spool. */
import { join } from 'node:path'
import { inTurn, rate } from './in-turn.ts'
import { type Measured, type Program, run } from './measure.ts'
import { aimed, type Goal } from './report.ts'
import { type Bench, type Benchmark, urlOf } from './server.ts'
import { type Backlog, dropSlot, emptied, makeBacklog, spoolOf } from './wal.ts'

export const catchup: Benchmark = {
  what: 'a backlog from a slot into a synced spool; goal: twice the rate of pg_receivewal, below 160 MB',
  run: async (bench) => {
    const backlog = await makeBacklog(bench, 'bench_base', bench.bytes)
    const slot = 'bench_run'
    const receiveOnly = join(import.meta.dirname, 'receive-only.js')
    const ours = {
      name: 'walferry, spool only',
      program: {
        file: process.execPath,
        args: [receiveOnly, urlOf(bench.server), slot, spoolOf(bench), backlog.endpos],
        env: { UV_THREADPOOL_SIZE: '16' },
      },
    }
    const theirs = pgReceivewal(bench, slot, backlog, [])
    const sides = theirs === null ? [ours] : [{ name: 'pg_receivewal', program: theirs }, ours]
    const found = await inTurn(bench, sides, ({ program }) => caughtUp(bench, backlog, slot, program))
    const twice: Goal[] = theirs === null ? [] : [{ figure: 'ratio', is: 'at least', limit: 2 }]
    return sides.map(({ name }) => {
      const side = rate(name, found(name), backlog.bytes)
      return name === ours.name ? aimed(side, ...twice, { figure: 'peak MB', is: 'at most', limit: 160 }) : side
    })
  },
}

/** Null where there is none. */
export function pgReceivewal(bench: Bench, slot: string, backlog: Backlog, more: readonly string[]): Program | null {
  const { pg_receivewal: file } = bench.peers
  if (file === undefined) return null
  const { host, port, user } = bench.server.connection
  const place = ['-h', host, '-p', String(port), '-U', user, '-D', spoolOf(bench), '-S', slot]
  return { file, args: [...place, '-E', backlog.endpos, '--no-loop', ...more] }
}

/** One run, into an empty folder, from a slot that stands where the backlog begins. */
export async function caughtUp(bench: Bench, backlog: Backlog, slot: string, program: Program): Promise<Measured> {
  await emptied(bench, 'target', 'archive')
  await bench.sql(`SELECT pg_copy_physical_replication_slot('${backlog.slot}', '${slot}')`)
  try {
    return await run(program)
  } finally {
    await dropSlot(bench, slot)
  }
}
