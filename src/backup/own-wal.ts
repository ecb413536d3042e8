/**
 * Fetches the WAL of a base backup beside it, where no receiver does: on a second connection, through a spool of its own
 * in a folder for temporary files, with the receiver's stream and shipper. So it stores what a receiver would, in the same
 * order, and what the archive has already is compared and not stored again.
 *
 * A temporary slot reserves the WAL before the backup begins. It goes with the connection: where that breaks, the backup
 * has failed.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import { orAbort } from '../kit/abort.ts'
import { systemClock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { noMetrics } from '../metrics/catalogue.ts'
import { ReplicationClient, type ServerIdentity } from '../pg/replication-client.ts'
import type { Target } from '../pg/target.ts'
import { Ack } from '../receive/ack.ts'
import { learnLine } from '../receive/learn-line.ts'
import type { Start } from '../receive/start.ts'
import { streamInto } from '../receive/stream.ts'
import { isStillOurs } from '../archive/owner.ts'
import { Shipper } from '../ship/shipper.ts'
import { Positions } from '../spool/positions.ts'
import { emptySpool } from '../spool/recover.ts'
import { Spool } from '../spool/spool.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'

export interface OwnWalOptions {
  /** The very server of the backup. */
  readonly target: Target
  readonly archive: Archive
  readonly codec: WritableCodec
  readonly uploadConcurrency: number
  readonly log: Log
}

const statusIntervalMs = 10_000 // six beats inside wal_sender_timeout's default of 60 s
const silenceMs = 60_000

export class OwnWal {
  readonly #options: OwnWalOptions
  readonly #client: ReplicationClient
  readonly #server: ServerIdentity
  readonly #slot: string
  readonly #folder: string
  readonly #positions = new Positions(systemClock)
  readonly #cut = new AbortController()
  readonly #stop = new AbortController()
  #work: { readonly streaming: Promise<void>; readonly shipping: Promise<void>; readonly shipper: Shipper } | null =
    null
  #spool: Spool | null = null

  /** Resolves once the server keeps its WAL for us. */
  static async reserve(options: OwnWalOptions, signal: AbortSignal): Promise<OwnWal> {
    const client = await ReplicationClient.connect(options.target, signal)
    try {
      const server = await client.identify(signal)
      const slot = `walferry_backup_${process.pid}_${Date.now().toString(36)}`
      await client.createTemporarySlot(slot, signal)
      const folder = await mkdtemp(join(tmpdir(), 'walferry-backup-'))
      return new OwnWal(options, client, server, slot, folder)
    } catch (error) {
      await client.close()
      throw error
    }
  }

  private constructor(
    options: OwnWalOptions,
    client: ReplicationClient,
    server: ServerIdentity,
    slot: string,
    folder: string,
  ) {
    this.#options = options
    this.#client = client
    this.#server = server
    this.#slot = slot
    this.#folder = folder
  }

  /** Streams and ships from the segment of `from` on. `failed` is called once, where it cannot go on. */
  async begin(from: Place, failed: (error: unknown) => void, signal: AbortSignal): Promise<void> {
    const { archive, codec, uploadConcurrency, log } = this.#options
    const { segmentBytes } = this.#server
    const spool = new Spool({ folder: this.#folder, segmentBytes, positions: this.#positions }, emptySpool)
    this.#spool = spool
    await learnLine(this.#client, this.#server, spool, signal)
    const lsn = segmentStart(segnoOf(from.lsn, segmentBytes), segmentBytes)
    this.#positions.startAt(lsn, lsn)
    const mine = { systemIdentifier: String(this.#server.systemIdentifier), segmentBytes }
    const shipper = new Shipper({
      spool,
      archive,
      isStillOurs: (asking) => isStillOurs(archive, mine, { signal: asking }),
      positions: this.#positions,
      shipIntervalMs: 1000,
      uploadConcurrency,
      codec,
      clock: systemClock,
      log,
      metrics: noMetrics,
    })
    const shipping = shipper.run(this.#cut.signal)
    const streaming = this.#stream(spool, { timeline: from.timeline, lsn }, signal)
    this.#work = { streaming, shipping, shipper }
    for (const part of [streaming, shipping]) part.catch(failed)
  }

  /** Resolves once everything up to `lsn` is in the archive. */
  async ship(lsn: Lsn, signal: AbortSignal): Promise<void> {
    const work = this.#work
    if (work === null) throw new Error('nothing is streamed yet')
    for (;;) {
      const seen = this.#positions.bell.count
      if (this.#positions.synced >= lsn) break
      await Promise.race([this.#positions.bell.after(seen, signal), work.streaming])
    }
    this.#stop.abort(new Error(`the WAL is here up to ${formatLsn(lsn)}`))
    await orAbort(work.streaming, signal)
    work.shipper.drain()
    await orAbort(work.shipping, signal)
  }

  /** Ends everything and removes its files; never rejects. */
  async close(): Promise<void> {
    this.#cut.abort(new Error('the backup has ended'))
    this.#client.cut(new Error('the backup has ended'))
    await this.#work?.streaming.catch(() => undefined)
    await this.#work?.shipping.catch(() => undefined)
    await this.#spool?.close().catch(() => undefined)
    await this.#client.close()
    await rm(this.#folder, { recursive: true, force: true }).catch(() => undefined)
  }

  /** From one timeline to the next, where the server follows another one meanwhile. */
  async #stream(spool: Spool, from: Place, signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    const ack = new Ack({ ack: 'spool', timeoutMs: Infinity, positions: this.#positions, clock: systemClock, log })
    const timeoutMs = await this.#client.walSenderTimeoutMs(signal)
    let at: Place = from
    for (;;) {
      const start: Start = { ...at, acknowledgeFrom: at.lsn, fork: null, gap: null, warning: null }
      const end = await streamInto(
        {
          client: this.#client,
          slot: this.#slot,
          start,
          spool,
          positions: this.#positions,
          ack,
          statusIntervalMs: timeoutMs === 0 ? statusIntervalMs : Math.min(statusIntervalMs, timeoutMs / 3),
          silenceMs,
          endpos: null,
          onReceived: () => undefined,
          onStreaming: () => undefined,
        },
        this.#stop.signal,
      )
      if (end.kind === 'stopped') return
      await learnLine(this.#client, await this.#client.identify(signal), spool, signal)
      const lsn = segmentStart(segnoOf(end.startsAt, spool.segmentBytes), spool.segmentBytes)
      at = { timeline: end.timeline, lsn }
    }
  }
}
