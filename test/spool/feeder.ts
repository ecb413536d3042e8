/** Feeds a spool as a stream would, with bytes that anybody can compute again, and hears what it says. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Bell } from '../../src/kit/bell.ts'
import type { WalferryError } from '../../src/kit/errors.ts'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool, type SpoolScan } from '../../src/spool/recover.ts'
import { Spool, type SpoolListener } from '../../src/spool/spool.ts'
import { asLsn, type Lsn } from '../../src/wal/lsn.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Segments of the smallest size: boundaries come often. */
export const segmentBytes = 1024 * 1024

/** The spools of these tests begin here: segment 3 of timeline 1. */
export const firstSegno = 3
export const begin = asLsn(firstSegno * segmentBytes)

export function at(offset: number): Lsn {
  return asLsn(begin + BigInt(offset))
}

/** The bytes [from, to), counted from `begin`. Each eight bytes occur once. */
export function bytesOf(from: number, to: number): Buffer {
  const first = from >>> 3
  const bytes = Buffer.alloc((((to + 7) >>> 3) - first) * 8)
  for (let n = 0; n < bytes.length; n += 8) {
    const word = first + (n >>> 3)
    bytes.writeUInt32LE(Math.imul(word + 1, 0x9e3779b1) >>> 0, n)
    bytes.writeUInt32LE(word, n + 4)
  }
  return bytes.subarray(from - first * 8, to - first * 8)
}

/** The name of the n-th segment from `begin` on. */
export function nameOf(n: number): string {
  return segmentName({ timeline: 1, segno: firstSegno + n }, segmentBytes)
}

export class Feeder implements SpoolListener {
  readonly positions = new Positions(new FakeClock())
  readonly spool: Spool
  readonly folder: string
  /** How far it has fed, counted from `begin`. */
  fed = 0
  rooms = 0
  failure: WalferryError | null = null
  /** Called whenever the spool says that it came further. */
  onProgress: () => void = () => undefined
  readonly #news = new Bell()

  constructor(folder: string, scan: SpoolScan = emptySpool) {
    this.folder = folder
    this.spool = new Spool({ folder, segmentBytes, positions: this.positions }, scan)
  }

  /** Begins, or begins again, at the start of the n-th segment. */
  async begin(n = 0): Promise<void> {
    this.failure = null
    this.fed = n * segmentBytes
    await this.spool.beginStream(1, at(this.fed), this)
    this.positions.startAt(at(this.fed), at(0))
  }

  /** Appends the next bytes, as many as given, in one fragment; `batchEnd` says that a batch is over. */
  append(count: number): void {
    this.spool.append(bytesOf(this.fed, this.fed + count))
    this.fed += count
  }

  /** Appends the bytes up to `offset` in one batch, and waits until they are durable or given up. */
  async feedTo(offset: number, fragmentBytes = 64 * 1024): Promise<void> {
    while (this.fed < offset) this.append(Math.min(fragmentBytes, offset - this.fed))
    this.spool.batchEnd()
    await this.spool.settle()
  }

  /** The same, and nothing may fail. */
  async mustFeedTo(offset: number): Promise<void> {
    await this.feedTo(offset)
    assert.equal(this.failure, null)
    assert.equal(this.spool.syncedUpTo, at(offset))
  }

  /** Resolves once `isReached` holds; looked at whenever the spool speaks. */
  async until(isReached: () => boolean, signal: AbortSignal): Promise<void> {
    for (;;) {
      const seen = this.#news.count
      if (isReached()) return
      await this.#news.after(seen, signal)
    }
  }

  progress(): void {
    this.onProgress()
    this.#news.ring()
  }

  hasRoom(): void {
    this.rooms++
    this.#news.ring()
  }

  failed(error: WalferryError): void {
    this.failure = error
    this.#news.ring()
  }

  /** The order that positions keep at all times, failures included. */
  checkOrder(): void {
    const { server, received, written, synced } = this.positions
    assert.ok(server >= received && received >= written && written >= synced, `${received} ${written} ${synced}`)
  }
}

/** The files of a spool are those of pg_receivewal: whole segments, then at most `opens` open ones, `bytes` in all. */
export async function assertFiles(folder: string, bytes: number): Promise<void> {
  const whole = Math.floor(bytes / segmentBytes)
  const names = (await readdir(folder)).sort()
  const expected = Array.from({ length: whole }, (_, n) => nameOf(n))
  if (bytes % segmentBytes > 0) expected.push(`${nameOf(whole)}.partial`)
  assert.deepEqual(names, expected)
  for (const [n, name] of names.entries()) {
    const content = await readFile(join(folder, name))
    const want = Buffer.alloc(segmentBytes)
    bytesOf(n * segmentBytes, Math.min(bytes, (n + 1) * segmentBytes)).copy(want)
    assert.ok(content.equals(want), `${name} holds other bytes than were fed`)
  }
}
