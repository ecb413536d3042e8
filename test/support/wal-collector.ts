/** Takes a stream of WAL into memory, reports it as durable when asked, and lets a test wait for what it has heard. */
import { orAbort } from '../../src/kit/abort.ts'
import { Bell } from '../../src/kit/bell.ts'
import type { ReplicationClient, StreamEnd, WalStream } from '../../src/pg/replication-client.ts'
import type { WalListener } from '../../src/pg/stream-messages.ts'
import { asLsn, formatLsn, type Lsn, plus } from '../../src/wal/lsn.ts'

export class WalCollector implements WalListener {
  readonly start: Lsn
  readonly #chunks: Buffer[] = []
  readonly #news = new Bell()
  receivedBytes = 0
  keepalives = 0
  hands: WalStream | null = null
  /** How the stream ended; rejects as it does. */
  readonly ended: Promise<StreamEnd>
  #over = false

  /** Streams from `start` on. Wait for `streaming`, or for `ended`, before anything else. */
  constructor(client: ReplicationClient, from: { slot?: string; timeline?: number; start: Lsn }) {
    this.start = from.start
    const place = { slot: from.slot ?? null, timeline: from.timeline ?? 1, start: from.start }
    this.ended = client.stream(place, this, (hands) => {
      this.hands = hands
      this.#news.ring()
    })
    // Whoever does not wait for the end does not care for how it came.
    this.ended
      .catch(() => undefined)
      .finally(() => {
        this.#over = true
        this.#news.ring()
      })
  }

  get receivedUpTo(): Lsn {
    return plus(this.start, this.receivedBytes)
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** Resolves once the server has begun to stream. */
  async streaming(signal: AbortSignal): Promise<WalStream> {
    await this.until(() => this.hands !== null, signal)
    if (this.hands === null) throw new Error('a wait has ended without what it was for')
    return this.hands
  }

  /** Resolves once everything up to `lsn` is there. */
  async has(lsn: Lsn, signal: AbortSignal): Promise<void> {
    await this.until(() => this.receivedUpTo >= lsn, signal)
  }

  /** Looks after each batch. Rejects with the stream's error if that ends first. */
  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    for (;;) {
      const seen = this.#news.count
      if (condition()) return
      if (this.#over) {
        await this.ended
        throw new Error('the stream ended before')
      }
      await orAbort(this.#news.after(seen, signal), signal)
    }
  }

  walBegins(start: Lsn): void {
    if (start === this.receivedUpTo) return
    throw new Error(`WAL at ${formatLsn(start)}, where ${formatLsn(this.receivedUpTo)} was due`)
  }

  wal(bytes: Buffer): void {
    this.#chunks.push(Buffer.from(bytes))
    this.receivedBytes += bytes.length
  }

  keepalive(_position: Lsn, _sentAtMs: number, replyRequested: boolean): void {
    this.keepalives++
    if (replyRequested) this.report(this.receivedUpTo)
  }

  batchEnd(): void {
    this.#news.ring()
  }

  /** Tells the server that everything up to `lsn` is durable here. */
  report(lsn: Lsn, wantReply = false): void {
    this.hands?.report({ written: this.receivedUpTo, flushed: asLsn(lsn), wantReply })
  }
}
