/**
 * catchup-ship: a backlog, compressed and in the store, against pg_receivewal, which ships nowhere; and beside it what a bare
 * loop in Node.js does.
 */
import { join } from 'node:path'
import { bareLoop, bareLoopName } from './floor.ts'
import { caughtUp, pgReceivewal } from './catchup.ts'
import { inTurn, rate } from './in-turn.ts'
import type { Measured, Program } from './measure.ts'
import { aimed, type Side } from './report.ts'
import type { Benchmark } from './server.ts'
import { withS3 } from './s3.ts'
import { makeBacklog, shipping, spoolOf } from './wal.ts'

const plain = 'pg_receivewal'
const compressed = 'pg_receivewal --compress=lz4'
const slot = 'bench_run'

export const catchupShip: Benchmark = {
  what: "the same, also compressed and in the store; goal: pg_receivewal's rate, 0.8 times that with --compress=lz4",
  run: async (bench) => {
    const backlog = await makeBacklog(bench, 'bench_base', bench.bytes)
    const measure = async (program: Program): Promise<Measured> => await caughtUp(bench, backlog, slot, program)
    // LZ4 brings it down to an eighth.
    return await withS3({ roomBytes: backlog.bytes / 4 }, async (s3) => {
      const sides: { name: string; once: () => Promise<Measured> }[] = []
      const peer = (name: string, more: readonly string[]): void => {
        const program = pgReceivewal(bench, slot, backlog, more)
        if (program !== null) sides.push({ name, once: async () => await measure(program) })
      }
      peer(plain, [])
      // From 15 on; an older one takes the number of a level only.
      if (bench.server.binaries.major >= 15) peer(compressed, ['--compress=lz4'])
      const { host, port, user } = bench.server.connection
      const stream = [host, String(port), user, slot, backlog.from, String(backlog.bytes), spoolOf(bench)]
      sides.push({ name: bareLoopName, once: async () => await measure(bareLoop('ship', ...stream)) })
      const run = { slot, endpos: backlog.endpos }
      sides.push({
        name: 'walferry, a folder',
        once: async () => await measure(shipping(bench, run, ['--store', join(bench.folder, 'archive')])),
      })
      sides.push({
        name: 'walferry, S3 on loopback',
        once: async () => {
          await s3.ask({ ask: 'empty' })
          return await measure({ ...shipping(bench, run, s3.args), env: s3.env })
        },
      })
      const found = await inTurn(bench, sides, ({ once }) => once())
      const isCompared = sides.some(({ name }) => name === compressed)
      return sides.flatMap(({ name }): Side[] => {
        const side = rate(name, found(name), backlog.bytes)
        if (!name.startsWith('walferry')) return [side]
        const first = aimed(
          side,
          { figure: 'ratio', is: 'at least', limit: 1 },
          { figure: 'peak MB', is: 'at most', limit: 160 },
        )
        if (!isCompared) return [first]
        const again = { ...side, name: `${name}, to --compress=lz4`, against: compressed }
        return [first, aimed(again, { figure: 'ratio', is: 'at least', limit: 0.8 })]
      })
    })
  },
}
