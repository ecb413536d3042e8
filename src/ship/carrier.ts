/**
 * The single steps of shipping. Each is idempotent: under a key that is taken, equal content is success and other
 * content is ARCHIVE_CONFLICT; nothing is ever overwritten. Chunks are deleted only after what replaces them is durable,
 * and only those that this process put, or compared byte by byte with its own copy.
 */
import type { FileHandle } from 'node:fs/promises'
import type { Archive } from '../archive/archive.ts'
import { fileAt, memoryAt, piecesOf, type ReadableAt } from '../archive/bytes-at.ts'
import { codecOfKey, type WritableCodec } from '../archive/codec-name.ts'
import { chunkKey, historyKey, segmentKey } from '../archive/keys.ts'
import type { Chunk, Merge } from '../archive/tail.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { countFailure, countUpload, type UploadKind } from '../metrics/uploads.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import { historyName, type Segment, segmentName } from '../wal/segment.ts'
import type { Record, Whole } from './record.ts'

/** Where the bytes of segments are read from: the spool, or pg_wal. */
export interface SegmentSource {
  readonly segmentBytes: number
  /** Opens a segment, or what is there of it. To be closed by the caller. */
  openForRead(segment: Segment): Promise<FileHandle>
}

/** What is put: a file, or memory (without `fd`). */
interface Opened extends ReadableAt {
  readonly name: string
  readonly fd: number | null
}

export interface CarrierOptions {
  readonly source: SegmentSource
  readonly archive: Archive
  /** For what is put. What is there already counts under any. */
  readonly codec: WritableCodec
  readonly metrics: Metrics
  /** Encode what is large in a thread of its own: for who has something else to do meanwhile. */
  readonly aside: boolean
}

/** Fewer bytes are encoded in the event loop: a few milliseconds at most. */
const largeBytes = 1024 * 1024
/** Overtaken so often by others that merge or delete, which takes them seconds, it is no coincidence any more. */
const listAttempts = 5

export class Carrier {
  readonly #source: SegmentSource
  readonly #archive: Archive
  readonly #codec: WritableCodec
  readonly #metrics: Metrics
  readonly #aside: boolean
  #lastStoredMs: number | null = null

  constructor(options: CarrierOptions) {
    this.#source = options.source
    this.#archive = options.archive
    this.#codec = options.codec
    this.#metrics = options.metrics
    this.#aside = options.aside
  }

  /** When something was last stored; null for never. */
  get lastStoredMs(): number | null {
    return this.#lastStoredMs
  }

  /** The keys under which the archive has each of the segments, under whichever extension, by the segments' names. */
  async findSegments(wholes: readonly Whole[], signal: AbortSignal): Promise<Map<string, string[]>> {
    const found = await this.#archive.findSegments(namesOf(wholes), { signal })
    return new Map([...found].map(([name, objects]) => [name, objects.map(({ key }) => key)]))
  }

  /** Stores a whole segment, unless it was `found` in the archive: then that has to be equal. Returns one of its keys. */
  async putSegment(segment: Segment, found: readonly string[], signal: AbortSignal): Promise<string> {
    return await this.#withFile(segment, async (file) => {
      for (const key of found) await this.#mustBeSame(key, file, 0, this.#source.segmentBytes, signal)
      if (found[0] !== undefined) return found[0]
      const key = segmentKey(file.name, this.#codec)
      await this.#put('segment', key, file, 0, this.#source.segmentBytes, signal)
      return key
    })
  }

  /**
   * Learns which chunks of a segment the store has, and compares them with our copy. If they reach further than the
   * `syncedBytes` that we have, that is noted, and nothing else: they can be compared once the server has streamed as much.
   * A segment that another receiver has made whole stands for its chunks.
   */
  async findChunks(
    { segment, syncedBytes, left }: Pick<SpoolSegment, 'segment' | 'syncedBytes' | 'left'>,
    record: Record,
    signal: AbortSignal,
  ): Promise<void> {
    // A segment that was left will never hold more: then what there is has to be the beginning.
    const isBehind = (all: readonly Chunk[]): boolean => furthestOf(all) > syncedBytes && !left
    const pick = (all: readonly Chunk[]): readonly Chunk[] => (isBehind(all) ? [] : all)
    const listed = await this.#archive.listChunks(this.#name(segment), { signal })
    const chunks = await this.#compared(segment, listed, syncedBytes, pick, signal)
    if (isBehind(chunks)) {
      record.lookFromBytes = furthestOf(chunks)
      return
    }
    const whole = record.isOld ? await this.#findWhole(segment, syncedBytes, signal) : []
    record.chunks = [...chunks, ...whole]
  }

  /** The archive's copies of an open segment, which begin with what is synced of it here. */
  async #findWhole(segment: Segment, syncedBytes: number, signal: AbortSignal): Promise<Chunk[]> {
    const name = this.#name(segment)
    const found: Chunk[] = []
    for (const { key } of await this.#archive.findSegment(name, { signal })) {
      await this.#withFile(segment, (file) => this.#mustBegin(key, file, 0, syncedBytes, signal))
      found.push({ key, segment: name, start: 0, end: this.#source.segmentBytes, codec: codecOfKey(key) })
    }
    return found
  }

  /** Stores the bytes [from, to) of an open segment as a chunk. */
  async putChunk(segment: Segment, record: Record, from: number, to: number, signal: AbortSignal): Promise<void> {
    const chunk = this.#chunk(segment, from, to)
    await this.#withFile(segment, (file) => this.#put('tail', chunk.key, file, from, to, signal))
    record.chunks?.push(chunk)
  }

  /** Stores a timeline's history file. It is never overwritten: other content is ARCHIVE_CONFLICT. */
  async putHistory(timeline: number, content: Uint8Array, signal: AbortSignal): Promise<void> {
    const file = { ...memoryAt(Buffer.from(content)), name: historyName(timeline), fd: null }
    const there = await this.#archive.findHistory(timeline, { signal })
    for (const object of there) await this.#mustBeSame(object.key, file, 0, content.length, signal)
    if (there.length === 0)
      await this.#put('history', historyKey(timeline, this.#codec), file, 0, content.length, signal)
  }

  /** Stores one chunk in the place of several. */
  async putMerged(segment: Segment, merge: Merge, signal: AbortSignal): Promise<Chunk> {
    const merged = this.#chunk(segment, merge.from, merge.to)
    await this.#withFile(segment, (file) => this.#put('merged', merged.key, file, merge.from, merge.to, signal))
    return merged
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    if (keys.length > 0) await this.#archive.store.deleteMany(keys, { signal })
  }

  /** The chunks of each of the segments, by the segments' names. */
  async listChunks(wholes: readonly Whole[], signal: AbortSignal): Promise<Map<string, Chunk[]>> {
    return await this.#archive.listChunksOf(namesOf(wholes), { signal })
  }

  /** Deletes the chunks that were listed of a segment that is stored whole, those of earlier runs and other receivers included. */
  async deleteChunks({ segment, record }: Whole, listed: readonly Chunk[], signal: AbortSignal): Promise<void> {
    const ours = new Set(record.chunks?.map((chunk) => chunk.key))
    const others = (all: readonly Chunk[]): readonly Chunk[] => all.filter((chunk) => !ours.has(chunk.key))
    const chunks = await this.#compared(segment, listed, this.#source.segmentBytes, others, signal)
    await this.delete(
      chunks.map((chunk) => chunk.key),
      signal,
    )
  }

  /**
   * Compares the chunks of a segment, of those `listed` the ones that `pick` takes, with the `ownBytes` of it that we
   * have. Where one is gone before it was read, because another one merges or deletes as we do, all starts over.
   */
  async #compared(
    segment: Segment,
    listed: readonly Chunk[],
    ownBytes: number,
    pick: (listed: readonly Chunk[]) => readonly Chunk[],
    signal: AbortSignal,
  ): Promise<readonly Chunk[]> {
    let chunks = listed
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#compareAll(segment, pick(chunks), ownBytes, signal)
        return chunks
      } catch (error) {
        if (!isError(error, 'KEY_MISSING') || attempt === listAttempts) throw error
      }
      chunks = await this.#archive.listChunks(this.#name(segment), { signal })
    }
  }

  /** Compares chunks with the first `bytes` bytes of a segment. */
  async #compareAll(segment: Segment, chunks: readonly Chunk[], bytes: number, signal: AbortSignal): Promise<void> {
    if (chunks.length === 0) return
    await this.#withFile(segment, async (file) => {
      for (const { key, start, end } of chunks) {
        if (end <= bytes) await this.#mustBeSame(key, file, start, end, signal)
        else if (start < bytes) await this.#mustBegin(key, file, start, bytes, signal)
      }
    })
  }

  async #put(
    kind: UploadKind,
    key: string,
    file: Opened,
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<void> {
    const startedMs = performance.now()
    const counted = new Counted(this.#encoded(file, from, to))
    try {
      await this.#archive.store.put(key, counted, { ifAbsent: true, signal }).catch(async (error: unknown) => {
        if (!isError(error, 'KEY_EXISTS')) throw error
        // Ours, where an answer was lost or a crash came in between; or somebody else's.
        await this.#mustBeSame(key, file, from, to, signal)
      })
    } catch (error) {
      if (!signal.aborted) countFailure(this.#metrics, kind)
      throw error
    }
    this.#lastStoredMs = Date.now()
    const seconds = (performance.now() - startedMs) / 1000
    countUpload(this.#metrics, { kind, seconds, plainBytes: to - from, storedBytes: counted.bytes })
  }

  #encoded(file: Opened, from: number, to: number): AsyncIterable<Uint8Array> {
    const { fd, name } = file
    if (fd === null || !this.#aside || to - from < largeBytes) {
      return this.#archive.encode(this.#codec, piecesOf(file, from, to))
    }
    return this.#archive.encodeInThread(this.#codec, { fd, name, from, to })
  }

  async #mustBeSame(key: string, file: ReadableAt, from: number, to: number, signal: AbortSignal): Promise<void> {
    const part: ReadableAt = { read: (target, position) => file.read(target, from + position) }
    if (!(await this.#archive.sameContent(key, part, to - from, { signal }))) throw this.#conflict(key)
  }

  /** The object has to begin with the bytes [from, to) of the file. */
  async #mustBegin(key: string, file: ReadableAt, from: number, to: number, signal: AbortSignal): Promise<void> {
    let at = from
    for await (const piece of await this.#archive.readObject(key, this.#source.segmentBytes, { signal })) {
      const own = Buffer.alloc(Math.min(piece.length, Math.max(0, to - at)))
      await file.read(own, at)
      if (own.compare(piece, 0, own.length) !== 0) throw this.#conflict(key)
      at += own.length
    }
  }

  #conflict(key: string): WalferryError {
    return new WalferryError('ARCHIVE_CONFLICT', `${this.#archive.store.url}: ${key} holds other WAL than ours`, {
      fields: { key },
      hint:
        'Two clusters, or two histories of one, write into one archive. Nothing was overwritten, and our copy stays where ' +
        'it is. Find out which is right, and give the other an archive of its own.',
    })
  }

  async #withFile<T>(segment: Segment, work: (file: Opened) => Promise<T>): Promise<T> {
    const file = await this.#source.openForRead(segment)
    const name = this.#name(segment)
    try {
      return await work({ ...fileAt(file, name), name, fd: file.fd })
    } finally {
      await file.close()
    }
  }

  #chunk(segment: Segment, start: number, end: number): Chunk {
    const name = this.#name(segment)
    return { key: chunkKey(name, start, end, this.#codec), segment: name, start, end, codec: this.#codec }
  }

  #name(segment: Segment): string {
    return segmentName(segment, this.#source.segmentBytes)
  }
}

function namesOf(wholes: readonly Whole[]): string[] {
  return wholes.map(({ name }) => name)
}

function furthestOf(chunks: readonly Chunk[]): number {
  return Math.max(0, ...chunks.map((chunk) => chunk.end))
}

/** Counts the bytes that pass. */
class Counted implements AsyncIterable<Uint8Array> {
  bytes = 0
  readonly #source: AsyncIterable<Uint8Array>

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const piece of this.#source) {
      this.bytes += piece.length
      yield piece
    }
  }
}
