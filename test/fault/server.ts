/** A server that keeps all its WAL, a client that writes into it, and its own WAL to compare an archive with. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type pg from 'pg'
import { Archive } from '../../src/archive/archive.ts'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import { parseChunkKey, parseWalKey, walFolder } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { parseSegmentName, segmentName, segmentStart } from '../../src/wal/segment.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  value,
} from '../support/postgres.ts'

export const segmentBytes = megabyte

/** All WAL since initdb stays in pg_wal, and nothing writes that the test does not ask for. */
export const settings = {
  wal_keep_size: '4GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: false,
}

/** Runs, and has a table `t (n int, text text)`. Discarded at the end of the test. */
export async function startServer(t: TestContext, version: TestVersion, ownIdentity = false): Promise<Cluster> {
  const cluster = await makeCluster({ version, segmentBytes, settings, ownIdentity })
  t.after(() => discardCluster(cluster))
  await cluster.start(deadline())
  const client = await connect(cluster)
  await client.query('CREATE TABLE t (n int, text text)')
  await client.end()
  return cluster
}

export async function clientOf(t: TestContext, cluster: Cluster): Promise<pg.Client> {
  const client = await connect(cluster)
  t.after(() => client.end())
  return client
}

export async function flushedUpTo(client: pg.Client): Promise<Lsn> {
  return parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()'))
}

/** One transaction of about so many bytes of WAL, which do not become smaller; returns where it ends. */
export async function write(client: pg.Client, bytes: number): Promise<Lsn> {
  const rows = Math.max(1, Math.round(bytes / 1000))
  const text = `(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, ${Math.min(29, Math.ceil(bytes / 32))}) WHERE n > 0)`
  await client.query(`INSERT INTO t SELECT n, ${text} FROM generate_series(1, ${rows}) n`)
  return await flushedUpTo(client)
}

/** Writes until it is stopped; a server that goes away is waited for. */
export class Writer {
  /** Where the last acknowledged commit has ended. */
  acknowledged: Lsn | null = null
  commits = 0
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(t: TestContext, cluster: Cluster, bytes: () => number) {
    this.#running = this.#write(cluster, bytes)
    t.after(() => this.stop())
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #write(cluster: Cluster, bytes: () => number): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const client = await connect(cluster)
        try {
          while (!this.#stop.signal.aborted) {
            this.acknowledged = await write(client, bytes())
            this.commits++
          }
        } finally {
          await client.end().catch(() => undefined)
        }
      } catch {
        // The server is away, or comes back just now.
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
}

/** The server's own file of a segment, or null if it has none. */
export async function ownSegment(cluster: Cluster, segno: number, timeline = 1): Promise<Buffer | null> {
  const path = join(cluster.dataFolder, 'pg_wal', segmentName({ timeline, segno }, segmentBytes))
  return await readFile(path).catch(() => null)
}

export interface ArchivedWal {
  readonly wholes: readonly number[]
  /** Segments that have chunks, whole or not. */
  readonly withChunks: readonly number[]
}

/** What lies in an archive of a timeline, by segment number. */
export async function archivedWal(store: ObjectStore, timeline = 1): Promise<ArchivedWal> {
  const wholes = new Set<number>()
  const withChunks = new Set<number>()
  for await (const { key } of store.list({ prefix: walFolder, signal: deadline() })) {
    const object = parseWalKey(key)
    const segment = object?.kind === 'segment' ? parseSegmentName(object.segment, segmentBytes) : null
    if (segment?.timeline === timeline) wholes.add(segment.segno)
  }
  for await (const { key } of store.list({ prefix: 'walferry_001/tail/', signal: deadline() })) {
    const chunk = parseChunkKey(key)
    const segment = chunk === null ? null : parseSegmentName(chunk.segment, segmentBytes)
    if (segment?.timeline === timeline) withChunks.add(segment.segno)
  }
  return { wholes: [...wholes].toSorted((a, b) => a - b), withChunks: [...withChunks].toSorted((a, b) => a - b) }
}

/**
 * Every byte from the archive's first segment of a timeline up to `upTo` is in it, and is the server's. Returns how many
 * segments.
 */
export async function assertArchived(cluster: Cluster, store: ObjectStore, upTo: Lsn, timeline = 1): Promise<number> {
  const archive = new Archive(store)
  const { wholes, withChunks } = await archivedWal(store, timeline)
  const first = Math.min(...wholes, ...withChunks)
  assert.ok(Number.isFinite(first), 'the archive is empty')
  let count = 0
  for (let segno = first; segmentStart(segno, segmentBytes) < upTo; segno++) {
    count++
    const name = segmentName({ timeline, segno }, segmentBytes)
    const own = await ownSegment(cluster, segno, timeline)
    assert.ok(own !== null, `the server has removed ${name}`)
    const bytes = Math.min(segmentBytes, Number(upTo - segmentStart(segno, segmentBytes)))
    const read = Buffer.alloc(segmentBytes)
    const found = await archive.readTail(name, segmentBytes, memoryAt(read), { signal: deadline() })
    if (found.found === 'tail') {
      assert.ok(found.bytes >= bytes, `of ${name} the archive has ${found.bytes} of ${bytes} bytes`)
      assert.ok(read.subarray(0, bytes).equals(own.subarray(0, bytes)), `the tail of ${name} is not the server's`)
      continue
    }
    for (const { key } of found.objects) {
      const same = await archive.sameContent(key, memoryAt(own), segmentBytes, { signal: deadline() })
      assert.ok(same, `${key} is not the server's`)
    }
  }
  return count
}
