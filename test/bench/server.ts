/** A server for the benchmarks, and the peer's program where it is installed. */
import { access, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { type Binaries, findBinaries } from '../../src/cluster/binaries.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { query, type Row } from '../../src/cluster/query.ts'

export interface Bench {
  readonly folder: string
  readonly server: Cluster
  /** Path of pg_receivewal, or null with a printed word if there is none that fits the server. */
  readonly receivewal: string | null
  readonly walferry: string
  sql(text: string): Promise<readonly Row[]>
}

const signal = new AbortController().signal

/** Runs `work` with a server of its own, and cleans up. */
export async function withServer(pgBin: string | undefined, work: (bench: Bench) => Promise<void>): Promise<void> {
  const receivewal = await findReceivewal(pgBin)
  // pg_receivewal refuses servers that are newer than itself, so its own server is taken where there is one.
  const binDir = pgBin ?? (receivewal === null ? undefined : await serverBeside(receivewal))
  const binaries: Binaries = await findBinaries({ binDir, from: import.meta.dirname, signal })
  const folder = await mkdtemp(join(tmpdir(), 'walferry-bench-'))
  const server = await Cluster.create({
    binaries,
    folder: join(folder, 'server'),
    tcp: true,
    settings: {
      max_wal_size: '20GB',
      checkpoint_timeout: '1d',
      max_wal_senders: 10,
      max_replication_slots: 20,
      autovacuum: false,
    },
    signal,
  })
  try {
    await server.start(signal)
    const walferry = join(import.meta.dirname, '..', '..', '..', 'bin', 'walferry')
    process.stdout.write(`PostgreSQL ${binaries.version}; pg_receivewal: ${receivewal ?? 'not installed'}\n`)
    await work({ folder, server, receivewal, walferry, sql: (text) => query(server.connection, text, signal) })
  } finally {
    await server.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}

async function findReceivewal(pgBin: string | undefined): Promise<string | null> {
  const folders = pgBin === undefined ? (process.env['PATH'] ?? '').split(delimiter) : [pgBin]
  // Debian's program in PATH is a wrapper; those of the versions are measured.
  const versioned = [18, 17, 16, 15, 14, 13].map((major) => `/usr/lib/postgresql/${major}/bin`)
  for (const folder of [...(pgBin === undefined ? versioned : []), ...folders]) {
    const path = join(folder, 'pg_receivewal')
    if (await isThere(path)) return await realpath(path)
  }
  return null
}

async function serverBeside(program: string): Promise<string | undefined> {
  const folder = dirname(program)
  return (await isThere(join(folder, 'initdb'))) ? folder : undefined
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
