/** A server for a benchmark, what it is compared with, and how large it is. */
import { setMaxListeners } from 'node:events'
import { rmSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Binaries, findBinaries } from '../../src/cluster/binaries.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { query, type Row } from '../../src/cluster/query.ts'
import { RunningClusters } from '../../src/cluster/running-clusters.ts'
import { findPeers, isThere, type Peers, tellPeers } from './peers.ts'
import type { Side } from './report.ts'

/** One comparison, or several that belong together. */
export interface Benchmark {
  /** What is measured, as one line. */
  readonly what: string
  readonly run: (bench: Bench) => Promise<Side[]>
}

export interface Bench {
  /** For all that it writes; removed afterwards. */
  readonly folder: string
  readonly server: Cluster
  readonly peers: Peers
  readonly walferry: string
  readonly walferryFetch: string
  /** How often each side is measured. */
  readonly rounds: number
  /** Everything as small as it can be, to see it work: figures mean nothing. */
  readonly quick: boolean
  /** Of a backlog, or of a database that is backed up, where rates are measured. */
  readonly bytes: number
  sql(text: string): Promise<readonly Row[]>
  /** Shows that it goes on. */
  tick(): void
}

export interface BenchOptions {
  readonly pgBin: string | undefined
  readonly rounds: number
  readonly quick: boolean
  readonly bytes: number
}

/** Nothing here is ever given up: Ctrl-C ends the process. */
export const signal = new AbortController().signal
// Each of many servers and receivers listens to it.
setMaxListeners(0, signal)

const bin = resolve(import.meta.dirname, '../../../bin')

/** Ends servers that run, and removes what was written, also when the process is ended from outside. */
const running = new RunningClusters()
const folders = new Set<string>()
process.on('exit', () => {
  running.killNow()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
})
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(1))

/** Runs `work` with a server of its own, and cleans up. */
export async function withServer(options: BenchOptions, work: (bench: Bench) => Promise<void>): Promise<void> {
  const { pgBin, rounds, quick, bytes } = options
  const peers = await findPeers(pgBin)
  // pg_receivewal refuses servers that are newer than itself, so its own server is taken where there is one.
  const { pg_receivewal: receivewal } = peers
  const binDir = pgBin ?? (receivewal === undefined ? undefined : await serverBeside(receivewal))
  const binaries: Binaries = await findBinaries({ binDir, from: import.meta.dirname, signal })
  const folder = await mkdtemp(join(tmpdir(), 'walferry-bench-'))
  folders.add(folder)
  // Where servers have to run as another user, they must get in.
  await chmod(folder, 0o755)
  try {
    const server = await Cluster.create({
      binaries,
      folder: join(folder, 'server'),
      tcp: true,
      settings: {
        max_wal_size: '20GB',
        checkpoint_timeout: '1d',
        max_wal_senders: 10,
        max_replication_slots: 20,
        max_connections: 40,
        autovacuum: false,
      },
      signal,
    })
    track(server)
    await server.start(signal)
    process.stdout.write(`PostgreSQL ${binaries.version}; ${await tellPeers(peers)}\n`)
    await work({
      folder,
      server,
      peers,
      walferry: join(bin, 'walferry'),
      walferryFetch: join(bin, 'walferry-fetch'),
      rounds,
      quick,
      bytes,
      sql: (text) => query(server.connection, text, signal),
      tick: () => process.stdout.write('.'),
    })
    process.stdout.write('\n')
  } finally {
    await running.disposeAll()
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
    folders.delete(folder)
  }
}

/** Has a server ended with the benchmark, whatever came of it. */
export function track(server: Cluster): void {
  running.add(server)
}

/** Ends and deletes a server that is tracked. */
export async function discard(server: Cluster): Promise<void> {
  await running.dispose(server)
}

export function urlOf({ connection: { host, port, user } }: Cluster): string {
  return `postgres://${user}@${host}:${port}/?sslmode=disable`
}

async function serverBeside(program: string): Promise<string | undefined> {
  const folder = dirname(program)
  return (await isThere(join(folder, 'initdb'))) ? folder : undefined
}
