/**
 * floor: what the parts cost by themselves, below which the whole cannot come: LZ4 by the library that Node.js has for it,
 * beside the command `lz4`, which is the C library that PostgreSQL's programs use; and a client in Node.js that reads a
 * stream and does nothing with it.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inTurn, rate } from './in-turn.ts'
import { type Program, run } from './measure.ts'
import type { Side } from './report.ts'
import type { Benchmark } from './server.ts'
import { dropSlot, emptied, makeBacklog } from './wal.ts'

const slot = 'bench_run'
const mostBytes = 512 * 1024 ** 2

export const floor: Benchmark = {
  what: 'the parts by themselves: LZ4 by lz4-napi and by the command lz4, and a client that only reads a stream',
  run: async (bench) => {
    const backlog = await makeBacklog(bench, 'bench_base', bench.bytes)
    await emptied(bench, 'target', 'input')
    const wal = join(bench.folder, 'input', 'wal')
    const bytes = gather(join(bench.server.dataFolder, 'pg_wal'), wal)
    const { lz4 } = bench.peers
    const { host, port, user } = bench.server.connection
    const stream = [host, String(port), user, slot, backlog.from, String(backlog.bytes)]
    const sides = [
      ...(lz4 === undefined
        ? []
        : [{ name: 'compress, lz4', bytes, program: command(`${lz4} -1 -B5 --no-frame-crc -f -q ${wal} ${wal}.lz4`) }]),
      { name: 'compress, lz4-napi', bytes, program: part('compress', wal) },
      ...(lz4 === undefined
        ? []
        : [{ name: 'decompress, lz4', bytes, program: command(`${lz4} -d -c ${wal}.lz4 > /dev/null`) }]),
      { name: 'decompress, lz4-napi', bytes, program: part('decompress', `${wal}.blocks`) },
      { name: 'stream, read', bytes: backlog.bytes, program: part('receive', ...stream) },
      {
        name: 'stream, read and written',
        bytes: backlog.bytes,
        program: part('receive', ...stream, join(bench.folder, 'target', 'stream')),
      },
    ]
    const found = await inTurn(bench, sides, async ({ name, program }) => {
      if (!name.startsWith('stream')) return await run(program)
      await bench.sql(`SELECT pg_copy_physical_replication_slot('${backlog.slot}', '${slot}')`)
      const measured = await run(program)
      await dropSlot(bench, slot)
      return measured
    })
    return sides.map(({ name, bytes: carried }) => compared(rate(name, found(name), carried)))
  },
}

function compared(side: Side): Side {
  return { ...side, against: side.name.endsWith('lz4-napi') ? side.name.replace('-napi', '') : null }
}

/** One part of what walferry does, as a program: see floor-part.ts. */
export function part(...args: readonly string[]): Program {
  return { file: process.execPath, args: [join(import.meta.dirname, 'floor-part.js'), ...args] }
}

/** A program in Node.js that does little for the same end: see bare-loop.ts. */
export function bareLoop(...args: readonly string[]): Program {
  return {
    file: process.execPath,
    args: [join(import.meta.dirname, 'bare-loop.js'), ...args],
    // As bin/walferry does.
    env: { UV_THREADPOOL_SIZE: '16' },
  }
}

export const bareLoopName = 'a bare loop in Node.js'

function command(text: string): Program {
  return { file: 'sh', args: ['-c', text] }
}

/** Puts segments of a server into one file, and gives its size. */
function gather(folder: string, into: string): number {
  let bytes = 0
  for (const name of readdirSync(folder).sort()) {
    if (!/^[0-9A-F]{24}$/.test(name) || bytes >= mostBytes) continue
    const content = readFileSync(join(folder, name))
    appendFileSync(into, content)
    bytes += content.length
  }
  return bytes
}
