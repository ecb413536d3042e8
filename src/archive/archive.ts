/**
 * An archive's objects, written and read as the plain bytes that they stand for. What lies where is `keys.ts`'s to know,
 * what the chunks of a tail amount to `tail.ts`'s, how bytes are compressed `codec.ts`'s.
 *
 * Here is the one home of the key: every object but JSON is made by `encode` and read by `readObject`, so that all of them
 * are encrypted, or none.
 *
 * Nothing is remembered between two calls, and no call retries what the store refuses.
 */
import { isError, WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo, ObjectStore } from '../store/object-store.ts'
import { historyName } from '../wal/segment.ts'
import { memoryAt, piecesOf, type ReadableAt, type WritableAt } from './bytes-at.ts'
import { decode, encode, type EncodeOptions } from './codec.ts'
import { refuseUnreadable } from './codec-support.ts'
import { knownEnds, type WritableCodec } from './codec-name.ts'
import { inOrder } from './in-order.ts'
import { damaged } from './damaged.ts'
import type { FilePart } from './codec-worker.ts'
import type { EncryptionKey } from './encryption/key.ts'
import { neighbours, parseChunkKey, segmentOfKey, tailFolder, tailFolders, walFolder } from './keys.ts'
import type { Plain, PlainSize } from './plain.ts'
import { type Chunk, planTail, type RunPart } from './tail.ts'

/** What `readTail` found. */
export type TailRead =
  | {
      readonly found: 'tail'
      /** Bytes from byte 0 that were written, 0 if there is no tail. */
      readonly bytes: number
      /** Whether checksums of the chunks covered every byte. */
      readonly checked: boolean
      /** Chunks behind a hole. They were not read. */
      readonly unreachable: readonly Chunk[]
    }
  /** The segment became whole meanwhile: read that. */
  | { readonly found: 'whole'; readonly objects: readonly ObjectInfo[] }

const chunksInFlight = 4 // a tail has up to some thirty chunks; one round trip for each would be seconds
const tailAttempts = 5 // a merge takes seconds: that five in a row overtake a reader is no coincidence any more
const largestPlain = 1024 * 1024 * 1024 // a segment of 1 GB

export class Archive {
  readonly store: ObjectStore
  readonly #secret: EncryptionKey | null

  /** `secret` null: nothing in it is encrypted. */
  constructor(store: ObjectStore, secret: EncryptionKey | null = null) {
    this.store = store
    this.#secret = secret
  }

  /** Of the key; null if nothing is encrypted. */
  get keyFingerprint(): string | null {
    return this.#secret?.fingerprint ?? null
  }

  /**
   * The bytes to put under a key with the extension of `codec`: compressed, and encrypted if the archive is. The pieces
   * may have any size. They must stay untouched: they are read in other threads.
   */
  encode(codec: WritableCodec, plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    return encode(codec, plain, this.#secret)
  }

  /** The same in a thread of its own, also for a part of an open file: see CodecThreads. */
  async *encodeInThread(
    codec: WritableCodec,
    plain: FilePart | AsyncIterable<Uint8Array>,
    options: EncodeOptions = {},
  ): AsyncGenerator<Uint8Array, void> {
    const { codecThreads } = await import('./codec-threads.ts')
    yield* codecThreads.encode(codec, plain, this.#secret, options)
  }

  /**
   * Encodes nothing, both ways, so that all code for it is loaded: for who runs so long that the files of walferry may be
   * replaced meanwhile.
   */
  async warmUp(codec: WritableCodec): Promise<void> {
    const empty = memoryAt(new Uint8Array())
    await drain(this.encode(codec, piecesOf(empty, 0, 0)))
    // Of no bytes, none is read.
    await drain(this.encodeInThread(codec, { fd: -1, name: 'nothing', from: 0, to: 0 }))
  }

  /**
   * Opens an object, decrypted, and decompressed by its key's extension. Rejects KEY_MISSING, BAD_INPUT for `lzma`; the
   * iteration ARCHIVE_DAMAGED and ENCRYPTION_KEY. The result has to be iterated, or the store's stream stays open.
   */
  async readObject(key: string, size: PlainSize, { signal }: CallOptions): Promise<Plain> {
    refuseUnreadable(key)
    return decode(key, await this.store.get(key, { signal }), size, this.#secretOf(key))
  }

  /** The same in a thread of its own, where a piece is gone when the next one is asked for: see CodecThreads. */
  async readInThread(key: string, size: PlainSize, { signal }: CallOptions): Promise<Plain> {
    refuseUnreadable(key)
    const { codecThreads } = await import('./codec-threads.ts')
    return codecThreads.decode(key, await this.store.get(key, { signal }), size, this.#secretOf(key))
  }

  /** Reads a small object, a history file for instance, into memory. Rejects as `readObject` does. */
  async readSmall(key: string, atMost: number, options: CallOptions): Promise<Buffer> {
    const parts: Uint8Array[] = []
    for await (const part of await this.readObject(key, { atMost }, options)) parts.push(part)
    return Buffer.concat(parts)
  }

  /** The objects that hold a segment, under whatever extension, the likeliest first; none if it is not there. */
  findSegment(segment: string, options: CallOptions): Promise<ObjectInfo[]> {
    return this.findContent(walFolder + segment, options)
  }

  /** The same of several segments, by their names, with a request for all that differ in the last digit only. */
  async findSegments(segments: readonly string[], options: CallOptions): Promise<Map<string, ObjectInfo[]>> {
    const found = new Map(segments.map((name): [string, ObjectInfo[]] => [name, []]))
    for (const [beginning, names] of neighbours(segments)) {
      const ends = names.flatMap((name) => knownEnds.map((end) => name.slice(beginning.length) + end))
      for (const info of await this.store.findAmong(walFolder + beginning, ends, options)) {
        found.get(segmentOfKey(info.key) ?? '')?.push(info)
      }
    }
    return found
  }

  /** The objects that hold a timeline's history file; none if it is not there. */
  findHistory(timeline: number, options: CallOptions): Promise<ObjectInfo[]> {
    return this.findContent(walFolder + historyName(timeline), options)
  }

  /** The objects whose key is `content` with an extension that names a compression, or none. */
  async findContent(content: string, options: CallOptions): Promise<ObjectInfo[]> {
    return await this.store.findAmong(content, knownEnds, options)
  }

  /**
   * Whether an object holds exactly the first `bytes` bytes of `plain`, after decompression. It is read to its end
   * either way, so that a damaged object is told (ARCHIVE_DAMAGED) and not taken for other content.
   */
  async sameContent(key: string, plain: ReadableAt, bytes: number, options: CallOptions): Promise<boolean> {
    let at = 0
    let same = true
    for await (const piece of await this.readObject(key, { atMost: largestPlain }, options)) {
      same &&= at + piece.length <= bytes && (await equalAt(plain, at, piece))
      at += piece.length
    }
    return same && at === bytes
  }

  /** The chunks of a segment's tail, in the order of their keys. Throws ARCHIVE_DAMAGED for a key that is no chunk's. */
  async listChunks(segment: string, { signal }: CallOptions): Promise<Chunk[]> {
    const chunks: Chunk[] = []
    for await (const { key } of this.store.list({ prefix: tailFolder(segment), signal })) {
      // To overlook an object here could end a recovery early.
      chunks.push(parseChunkKey(key) ?? refuseKey(key))
    }
    return chunks
  }

  /** The same of several segments, by their names, with a request for all that differ in the last digit only. */
  async listChunksOf(segments: readonly string[], { signal }: CallOptions): Promise<Map<string, Chunk[]>> {
    const listed = new Map(segments.map((name): [string, Chunk[]] => [name, []]))
    for (const beginning of neighbours(segments).keys()) {
      for await (const { key } of this.store.list({ prefix: tailFolders(beginning), signal })) {
        // What belongs to others is not asked for.
        listed.get(segmentOfKey(key) ?? '')?.push(parseChunkKey(key) ?? refuseKey(key))
      }
    }
    return listed
  }

  /**
   * Writes a segment's tail into `into`, from position 0. Bytes of chunks that overlap are compared: ARCHIVE_CONFLICT.
   * Where it rejects, `into` holds anything; so it does behind the bytes of the result.
   *
   * Merging and the arrival of the whole segment delete chunks, always after what replaces them is durable. So where a
   * listed chunk is gone, all starts over; and as a listing may have met chunks that were just being deleted, the whole
   * segment is looked for after the listing, each time.
   */
  async readTail(segment: string, segmentBytes: number, into: WritableAt, options: CallOptions): Promise<TailRead> {
    for (let attempt = 1; ; attempt++) {
      const plan = planTail(await this.listChunks(segment, options), segmentBytes)
      const objects = await this.findSegment(segment, options)
      if (objects.length > 0) return { found: 'whole', objects }
      try {
        const checked = await this.#readParts(plan.run, plan.covered, into, options)
        return { found: 'tail', bytes: plan.bytes, checked, unreachable: plan.unreachable }
      } catch (error) {
        if (!isError(error, 'KEY_MISSING')) throw error
        // Not KEY_MISSING any more: nobody may take it for "the segment is absent".
        if (attempt === tailAttempts) throw damaged(tailFolder(segment), 'lists chunks that are not there', error)
      }
    }
  }

  /** In WAL-G's format, too, JSON is never encrypted. */
  #secretOf(key: string): EncryptionKey | null {
    return key.endsWith('.json') ? null : this.#secret
  }

  async #readParts(
    run: readonly RunPart[],
    covered: readonly Chunk[],
    into: WritableAt,
    options: CallOptions,
  ): Promise<boolean> {
    let checked = true
    let before: Promise<boolean> = Promise.resolve(true)
    const parts = inOrder(run, chunksInFlight, (part) => {
      const written = before
      // Where a chunk overlaps, it is compared with what the one before it wrote.
      const ready = part.from > part.chunk.start ? written : Promise.resolve()
      before = ready.then(() => this.#readChunk(part.chunk, part.from, into, options))
      return before
    })
    for await (const part of parts) checked &&= part
    const compared = inOrder(covered, chunksInFlight, (chunk) => this.#readChunk(chunk, chunk.end, into, options))
    for await (const part of compared) checked &&= part
    return checked
  }

  /** Compares a chunk's bytes before `from`, and writes the others. Returns whether a checksum covered them. */
  async #readChunk(chunk: Chunk, from: number, into: WritableAt, options: CallOptions): Promise<boolean> {
    const plain = await this.readObject(chunk.key, chunk.end - chunk.start, options)
    let at = chunk.start
    for await (const piece of plain) {
      const known = Math.min(piece.length, Math.max(0, from - at))
      if (known > 0 && !(await equalAt(into, at, piece.subarray(0, known)))) throw differs(chunk)
      if (known < piece.length) await into.write(piece.subarray(known), at + known)
      at += piece.length
    }
    return plain.checked
  }
}

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of pieces) void piece
}

async function equalAt(plain: ReadableAt, position: number, piece: Uint8Array): Promise<boolean> {
  const own = Buffer.allocUnsafe(piece.length)
  await plain.read(own, position)
  return own.equals(piece)
}

function refuseKey(key: string): never {
  throw damaged(key, 'lies among the chunks of a tail, and its name is not that of a chunk')
}

function differs(chunk: Chunk): WalferryError {
  return new WalferryError('ARCHIVE_CONFLICT', `${chunk.key} holds other bytes than the chunks that it overlaps`, {
    hint: 'Two receivers wrote different WAL under one name. Keep all chunks; compare them with the pg_wal of the server.',
    fields: { key: chunk.key, segment: chunk.segment },
  })
}
