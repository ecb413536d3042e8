/** A shipper at work: a spool that the test feeds, and a store in memory that can be made to misbehave. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import { parseChunkKey, parseWalKey } from '../../src/archive/keys.ts'
import { encode } from '../../src/archive/codec.ts'
import { type Chunk, coveredBytes } from '../../src/archive/tail.ts'
import { type Clock, systemClock } from '../../src/kit/clock.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import type { Log } from '../../src/kit/log.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import { Shipper } from '../../src/ship/shipper.ts'
import { emptySpool, type SpoolScan } from '../../src/spool/recover.ts'
import type { PutOptions } from '../../src/store/object-store.ts'
import { at, begin, bytesOf, Feeder, firstSegno, nameOf, segmentBytes } from '../spool/feeder.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'

export class FaultyStore extends MemoryStore {
  /** Called after each object that was stored. What it throws, `put` rejects with, and the object is there. */
  stored: (key: string) => void | Promise<void> = () => undefined

  override async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    await super.put(key, body, options)
    await this.stored(key)
  }
}

export function unreachable(): WalferryError {
  return new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
}

/** What a start would find in a spool that was fed up to `bytes`, if it removed nothing. */
export function scanUpTo(bytes: number): SpoolScan {
  const wholes = Array.from({ length: Math.floor(bytes / segmentBytes) }, (_, n) => ({
    timeline: 1,
    segno: firstSegno + n,
  }))
  const place = { timeline: 1, lsn: at(bytes) }
  return { ...emptySpool, identity: { systemIdentifier: 1n, segmentBytes }, wholes, end: { place, proved: true } }
}

/** An object as a shipper stores it. */
export async function encoded(key: string, bytes: Buffer): Promise<Buffer> {
  async function* plain(): AsyncGenerator<Uint8Array> {
    await Promise.resolve()
    yield bytes
  }
  const parts: Uint8Array[] = []
  for await (const part of encode(key.endsWith('.lz4') ? 'lz4' : 'none', plain())) parts.push(part)
  return Buffer.concat(parts)
}

export interface ShippingOptions {
  readonly folder: string
  readonly store?: FaultyStore
  readonly scan?: SpoolScan
  readonly shipIntervalMs?: number
  readonly uploadConcurrency?: number
  readonly clock?: Clock
  readonly isStillOurs?: () => boolean
}

export class Shipping {
  readonly feeder: Feeder
  readonly store: FaultyStore
  readonly archive: Archive
  readonly shipper: Shipper
  readonly said: string[] = []
  readonly #cut = new AbortController()
  #running: Promise<void> | null = null

  constructor(t: TestContext, options: ShippingOptions) {
    this.store = options.store ?? new FaultyStore()
    this.feeder = new Feeder(options.folder, options.scan)
    this.archive = new Archive(this.store)
    const say = (message: string): void => void this.said.push(message)
    const log: Log = { error: say, warn: say, info: say, debug: say }
    this.shipper = new Shipper({
      spool: this.feeder.spool,
      archive: this.archive,
      isStillOurs: () => Promise.resolve(options.isStillOurs?.() ?? true),
      positions: this.feeder.positions,
      shipIntervalMs: options.shipIntervalMs ?? 0,
      uploadConcurrency: options.uploadConcurrency ?? 4,
      codec: 'lz4',
      clock: options.clock ?? systemClock,
      log,
      metrics: noMetrics,
    })
    t.after(async () => {
      this.#cut.abort(new Error('the test is over'))
      await this.#running?.catch(() => undefined)
      await this.feeder.spool.close()
    })
  }

  get shippedBytes(): number {
    return Number(this.feeder.positions.shipped - begin)
  }

  /** Begins to ship. What `run` comes to is for `ended` to say. */
  start(): void {
    this.#running = this.shipper.run(this.#cut.signal)
    this.#running.catch(() => undefined)
  }

  /** Settles as the shipper does. */
  get ended(): Promise<void> {
    return this.#running ?? Promise.reject(new Error('it was not started'))
  }

  cut(): void {
    this.#cut.abort(new Error('cut'))
  }

  /** Ships everything, and ends. */
  async drain(): Promise<void> {
    this.shipper.drain()
    await this.ended
  }

  async untilShipped(bytes: number): Promise<void> {
    await this.until(() => this.shippedBytes >= bytes)
  }

  /** Looked at after each turn of the event loop: nothing here takes longer than a moment. */
  async until(isReached: () => boolean): Promise<void> {
    const signal = deadline()
    while (!isReached()) {
      signal.throwIfAborted()
      await new Promise(setImmediate)
    }
  }

  /** Bytes from the spool's beginning that a reader finds in the store at this moment, without a hole. */
  readableBytes(): number {
    const wholes = new Set<string>()
    const chunks = new Map<string, Chunk[]>()
    for (const key of this.store.keys) {
      const wal = parseWalKey(key)
      if (wal?.kind === 'segment') wholes.add(wal.segment)
      const chunk = parseChunkKey(key)
      if (chunk !== null) chunks.set(chunk.segment, [...(chunks.get(chunk.segment) ?? []), chunk])
    }
    for (let n = 0; ; n++) {
      if (wholes.has(nameOf(n))) continue
      const covered = coveredBytes(chunks.get(nameOf(n)) ?? [], segmentBytes)
      if (covered < segmentBytes) return n * segmentBytes + covered
    }
  }

  /** Every byte before `bytes` is in the archive as it was fed. */
  async assertArchived(bytes: number): Promise<void> {
    for (let n = 0; n * segmentBytes < bytes; n++) {
      const want = bytesOf(n * segmentBytes, Math.min(bytes, (n + 1) * segmentBytes))
      const into = Buffer.alloc(segmentBytes)
      const read = await this.archive.readTail(nameOf(n), segmentBytes, memoryAt(into), { signal: deadline() })
      if (read.found === 'tail') {
        assert.ok(read.bytes >= want.length, `${nameOf(n)} has ${read.bytes} bytes`)
        assert.ok(into.subarray(0, want.length).equals(want), `the tail of ${nameOf(n)} holds other bytes`)
      } else {
        for (const { key } of read.objects) {
          const whole = memoryAt(bytesOf(n * segmentBytes, (n + 1) * segmentBytes))
          assert.ok(await this.archive.sameContent(key, whole, segmentBytes, { signal: deadline() }), key)
        }
      }
    }
  }

  /** Names of segments that have chunks in the store. */
  segmentsWithChunks(): string[] {
    return [...new Set(this.store.keys.map((key) => parseChunkKey(key)?.segment).filter((name) => name !== undefined))]
  }
}
