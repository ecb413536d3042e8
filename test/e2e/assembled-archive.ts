/** An archive in a folder, put together from what lies in the pg_wal of servers. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { memoryAt, piecesOf } from '../../src/archive/bytes-at.ts'
import { encode } from '../../src/archive/codec.ts'
import { claimIdentity } from '../../src/archive/identity.ts'
import { chunkKey, historyKey, segmentKey } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { systemIdentifierBeside } from '../../src/restore/beside.ts'
import { validBytesOf, walk } from '../../src/restore/own-copy.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { historyName, isSegmentName, parseSegmentName } from '../../src/wal/segment.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

export class AssembledArchive {
  readonly folder: string
  readonly #store: DirectoryStore
  readonly #segmentBytes: number

  private constructor(folder: string, segmentBytes: number) {
    this.folder = folder
    this.#store = new DirectoryStore(folder)
    this.#segmentBytes = segmentBytes
  }

  /** An archive of this cluster, without WAL. */
  static async make(t: TestContext, cluster: Cluster, segmentBytes: number): Promise<AssembledArchive> {
    const folder = join(await tempFolder(t), 'archive')
    await mkdir(folder)
    const archive = new AssembledArchive(folder, segmentBytes)
    const systemIdentifier = String(await systemIdentifierBeside(join(cluster.dataFolder, 'pg_wal', 'any')))
    const options = { signal: deadline(), now: new Date() }
    await claimIdentity(new Archive(archive.#store), { systemIdentifier, segmentBytes }, options)
    return archive
  }

  /** All that pg_wal has of a timeline: complete segments as such, the last one as a tail. Returns their names, in order. */
  async add(cluster: Cluster, timeline: number): Promise<string[]> {
    const names = (await readdir(join(cluster.dataFolder, 'pg_wal'))).filter(
      (name) => isSegmentName(name) && parseSegmentName(name, this.#segmentBytes).timeline === timeline,
    )
    const added: string[] = []
    for (const name of names.toSorted()) {
      const bytes = await readFile(join(cluster.dataFolder, 'pg_wal', name))
      const expected = { segment: parseSegmentName(name, this.#segmentBytes), segmentBytes: this.#segmentBytes }
      const walked = await walk(memoryAt(bytes), bytes.length, expected)
      const valid = validBytesOf(walked, expected)
      // Files that are kept for later use lie there, too.
      if (valid === 0) continue
      added.push(name)
      if (walked.completeUpTo === null) await this.tail(cluster, name, valid)
      else await this.#put(segmentKey(name, 'lz4'), bytes)
    }
    return added
  }

  /** The first `bytes` bytes of a segment, as one chunk. */
  async tail(cluster: Cluster, name: string, bytes: number): Promise<void> {
    const segment = await readFile(join(cluster.dataFolder, 'pg_wal', name))
    await this.#put(chunkKey(name, 0, bytes, 'lz4'), segment.subarray(0, bytes))
  }

  async history(cluster: Cluster, timeline: number): Promise<void> {
    const file = join(cluster.dataFolder, 'pg_wal', historyName(timeline))
    await this.#put(historyKey(timeline, 'lz4'), await readFile(file))
  }

  /** Takes a whole segment away. */
  async remove(name: string): Promise<void> {
    await rm(join(this.folder, segmentKey(name, 'lz4')))
  }

  async #put(key: string, plain: Uint8Array): Promise<void> {
    const pieces = encode('lz4', piecesOf(memoryAt(plain), 0, plain.length))
    await this.#store.put(key, pieces, { signal: deadline(), ifAbsent: true })
  }
}
