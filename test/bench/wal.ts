/** WAL to be received, and a receiver of it. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '../../src/kit/abort.ts'
import { type Measured, type Program, run, Running } from './measure.ts'
import { type Bench, urlOf } from './server.ts'

export interface Backlog {
  readonly from: string
  readonly endpos: string
  readonly bytes: number
  readonly slot: string
}

/** Makes a slot, and WAL of at least that size behind it: rows of text that lz4 brings down to an eighth. */
export async function makeBacklog(bench: Bench, slot: string, bytes: number): Promise<Backlog> {
  await bench.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  const from = await flushed(bench)
  await bench.sql('CREATE TABLE IF NOT EXISTS backlog (id bigint, payload text)')
  while ((await writtenSince(bench, from)) < bytes) {
    await bench.sql(`INSERT INTO backlog SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 50000) g`)
  }
  await bench.sql('CHECKPOINT')
  await bench.sql('SELECT pg_switch_wal()')
  const backlog = { from, endpos: await flushed(bench), bytes: await writtenSince(bench, from), slot }
  // pg_receivewal ends at the first byte behind the end, so there has to be one.
  await bench.sql(`SELECT pg_logical_emit_message(true, 'bench', 'behind the end')`)
  return backlog
}

/** Receives all of a backlog into an archive, and ends. */
export function shipping(
  bench: Bench,
  backlog: { readonly slot: string; readonly endpos: string },
  store: readonly string[],
): Program {
  const { file, args } = receiving(bench, backlog.slot, store)
  return { file, args: [...args, '--endpos', backlog.endpos, '--no-loop'] }
}

/** Ships a backlog into an archive, and leaves its slot, and so the server's own files, as they were. */
export async function ship(
  bench: Bench,
  backlog: Backlog,
  store: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Measured> {
  const slot = `${backlog.slot}_copy`
  await emptied(bench, 'target')
  await bench.sql(`SELECT pg_copy_physical_replication_slot('${backlog.slot}', '${slot}')`)
  try {
    return await run({ ...shipping(bench, { ...backlog, slot }, store), env })
  } finally {
    await dropSlot(bench, slot)
  }
}

/** Where a run's spool is: in a folder that `emptied` makes anew. */
export function spoolOf(bench: Bench): string {
  return join(bench.folder, 'target')
}

export function receiving(bench: Bench, slot: string, store: readonly string[]): Program {
  const place = ['--url', urlOf(bench.server), '--slot', slot, '--spool', spoolOf(bench)]
  return {
    file: bench.walferry,
    args: ['receive', ...place, ...store, '--listen', 'off', '--log-level', 'error'],
  }
}

/** Empties folders below the bench's. */
export async function emptied(bench: Bench, ...names: string[]): Promise<void> {
  for (const name of names) {
    await rm(join(bench.folder, name), { recursive: true, force: true, maxRetries: 10 })
    await mkdir(join(bench.folder, name))
  }
  // What the disk has to do for it, such as to trim what was deleted, is not done while the next is measured.
  await run({ file: 'sync', args: [] })
}

/** Starts a receiver on a slot of its own, and ends it after `work`, for which it streams. */
export async function withReceiver<T>(
  bench: Bench,
  slot: string,
  program: Program,
  work: (receiver: Running) => Promise<T>,
): Promise<T> {
  await bench.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  const receiver = new Running(program)
  try {
    await untilStreaming(bench, receiver)
    return await work(receiver)
  } finally {
    receiver.stop()
    await receiver.ended.catch(() => undefined)
    await dropSlot(bench, slot)
  }
}

/** Waits until the walsender has noticed that nobody is there any more. */
export async function dropSlot(bench: Bench, slot: string): Promise<void> {
  await untilSlot(bench, slot, 'free')
  await bench.sql(`SELECT pg_drop_replication_slot('${slot}')`)
}

/** Waits until somebody streams from a slot, or nobody. */
export async function untilSlot(bench: Bench, slot: string, state: 'active' | 'free'): Promise<void> {
  for (const patience = AbortSignal.timeout(60_000); ; await sleep(20, patience)) {
    const [row] = await bench.sql(`SELECT active FROM pg_replication_slots WHERE slot_name = '${slot}'`)
    if ((row?.['active'] === true) === (state === 'active')) return
  }
}

export async function flushed(bench: Bench): Promise<string> {
  const [row] = await bench.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn')
  return String(row?.['lsn'])
}

async function writtenSince(bench: Bench, lsn: string): Promise<number> {
  const [row] = await bench.sql(`SELECT pg_current_wal_flush_lsn() - '${lsn}'::pg_lsn AS bytes`)
  return Number(row?.['bytes'])
}

async function untilStreaming(bench: Bench, receiver: Running): Promise<void> {
  const ended = receiver.ended.then(() => {
    throw new Error('the receiver ended before it streamed')
  })
  ended.catch(() => undefined)
  for (;;) {
    const [row] = await bench.sql(
      `SELECT count(*)::int AS n FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn = pg_current_wal_flush_lsn()`,
    )
    if (row?.['n'] === 1) return
    await Promise.race([sleep(20, AbortSignal.timeout(60_000)), ended])
  }
}
