/**
 * The life of `receive`: opens in order, runs receiver and shipper beside each other, drains, closes in reverse.
 *
 *     spool -> archive      what the spool holds is shipped before and without any server
 *     server -> spool       what the server sends is kept before and without any store
 *
 * They meet at the first connection: streaming starts at the furthest place that spool and archive reach. With nothing
 * in the spool that has to wait for the archive, because "could not look" is not "nothing there".
 */
import { setMaxListeners } from 'node:events'
import { hostname } from 'node:os'
import type { Archive } from '../archive/archive.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { claimArchive, isStillOurs } from '../archive/owner.ts'
import { orAbort, sleep } from '../kit/abort.ts'
import { systemClock } from '../kit/clock.ts'
import { makeFolder } from '../kit/durable-fs.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import type { ServerIdentity } from '../pg/replication-client.ts'
import type { Target } from '../pg/target.ts'
import { OtherHosts } from '../receive/other-hosts.ts'
import { Receiver } from '../receive/receiver.ts'
import { checkIdentity } from '../receive/start.ts'
import type { ListenOptions } from '../serve/listener.ts'
import type { Reason } from '../serve/routes.ts'
import { BacklogKeeper } from '../ship/backlog-keeper.ts'
import { Shipper } from '../ship/shipper.ts'
import { lockSpool } from '../spool/lock.ts'
import { Positions } from '../spool/positions.ts'
import { type LastWrite, lastWrites } from '../spool/last-writes.ts'
import { emptySpool, recoverSpool, type SpoolScan } from '../spool/recover.ts'
import { Spool } from '../spool/spool.ts'
import { bytesBetween, formatLsn, type Lsn, lsnZero } from '../wal/lsn.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'
import { runSchedule, type Schedule } from './backup-schedule.ts'
import type { Taken } from './backup-record.ts'
import { type Capture, Observer } from './observer.ts'
import { archivePatienceMs, type Claiming, StartingPoint } from './starting-point.ts'
import { StoreAsker } from './store-asker.ts'

export interface ReceiveConfig {
  readonly version: string
  readonly target: Target
  readonly slot: string
  readonly spoolFolder: string
  readonly statusIntervalMs: number
  readonly loop: boolean
  readonly endpos: Lsn | null
  readonly ack: 'spool' | 'store'
  readonly ackStoreTimeoutMs: number
  readonly onGap: 'continue' | 'halt'
  readonly requireSlot: boolean
  readonly shipIntervalMs: number
  readonly uploadConcurrency: number
  readonly codec: WritableCodec
  readonly drainTimeoutMs: number
  readonly listen: Omit<ListenOptions, 'log'> | null
}

/** Base backups by a schedule. */
export interface Backups {
  readonly schedule: Schedule
  readonly take: (signal: AbortSignal, metrics: Metrics) => Promise<Taken>
  /** The schedule, as given. */
  readonly text: string
}

type ClusterOfSpool = NonNullable<SpoolScan['identity']>

/** What is there from the moment that the cluster is known. */
interface Pipeline extends Claiming {
  readonly cluster: ClusterOfSpool
  readonly knownFrom: string
  readonly shipper: Shipper
  /** Resolves when everything is shipped after a drain; rejects with what halted the shipper. */
  readonly shipping: Promise<void>
  readonly keeper: BacklogKeeper
  /** Resolves when the keeper of the note has ended; until the archive is claimed it does nothing. */
  readonly keeping: Promise<void>
}

export class ReceiveDaemon {
  readonly positions = new Positions(systemClock)
  readonly #config: ReceiveConfig
  readonly #archive: Archive
  readonly #log: Log
  readonly #backups: Backups | null
  readonly #observer: Observer
  readonly #metrics: Metrics
  /** The observer's looks. */
  readonly #watching: Promise<void>[] = []
  readonly #store: StoreAsker
  readonly #startingPoint: StartingPoint
  readonly #receiver: Receiver
  /** Ends everything that is still under way. */
  readonly #cut = new AbortController()
  /** Aborts, with the error, when the archive turns out not to be ours. */
  readonly #refused = new AbortController()
  #scan: SpoolScan = emptySpool
  #pipeline: Pipeline | null = null
  #isClaimed = false

  constructor(config: ReceiveConfig, archive: Archive, log: Log, backups: Backups | null) {
    this.#config = config
    this.#archive = archive
    this.#log = log
    this.#backups = backups
    this.#observer = new Observer({
      ...config,
      archive,
      backups,
      positions: this.positions,
      capture: () => this.#capture(),
      log,
      signal: this.#cut.signal,
    })
    this.#metrics = this.#observer.metrics
    this.#store = new StoreAsker(log, this.#metrics)
    this.#startingPoint = new StartingPoint({
      ...config,
      archive,
      host: hostname(),
      store: this.#store,
      observer: this.#observer,
      log,
      metrics: this.#metrics,
      signal: this.#cut.signal,
    })
    // Every upload under way listens to it.
    setMaxListeners(0, this.#cut.signal)
    this.#receiver = new Receiver({
      target: config.target,
      slot: config.slot,
      positions: this.positions,
      statusIntervalMs: config.statusIntervalMs,
      endpos: config.endpos,
      loop: config.loop,
      log,
      accept: (server) => void this.#accept(server),
      meet: (server, others, signal) =>
        this.#startingPoint.meet(this.#accept(server), server.flushedUpTo, others, signal),
      recordGap: (gap, signal) => this.#startingPoint.recordGap(gap, signal),
      ack: config.ack,
      ackStoreTimeoutMs: config.ackStoreTimeoutMs,
      onGap: config.onGap,
      requireSlot: config.requireSlot,
      onReceived: (bytes) => this.#metrics.add('walferry_received_bytes_total', bytes),
      onReconnect: (reason) => {
        this.#metrics.add('walferry_reconnects_total', 1, { reason })
        if (reason === 'SLOT_IN_USE') this.#observer.record.othersShip()
      },
      onTimelineSwitch: () => this.#metrics.add('walferry_timeline_switches_total', 1),
    })
  }

  /**
   * Runs until `stop` aborts or `endpos` is shipped. An abort drains: what is synced is shipped, for at most
   * `drainTimeoutMs`; what is left then stays in the spool for the next start. Rejects with what made going on
   * impossible.
   */
  async run(stop: AbortSignal): Promise<void> {
    const { spoolFolder } = this.#config
    await prepareFolder(spoolFolder)
    const lock = await lockSpool(spoolFolder)
    try {
      await this.#runLocked(stop)
    } finally {
      await lock.close()
    }
  }

  async #runLocked(stop: AbortSignal): Promise<void> {
    const { spoolFolder } = this.#config
    this.#scan = await recoverSpool(spoolFolder)
    for (const { name, as, fault } of this.#scan.setAside) {
      const hint = 'It is not shipped. Look where it comes from, then remove it.'
      this.#log.error(`set aside a file of the spool: ${name} ${fault}`, { as, hint })
    }
    const listener = await this.#observer.listen()
    const lookingAfter = this.#lookAfterOtherHosts()
    const backingUp = this.#backUp(stop)
    this.#watching.push(this.#observer.run())
    try {
      if (this.#scan.identity !== null) {
        const found = await lastWrites(spoolFolder, this.#scan.identity.segmentBytes)
        this.#open(this.#scan.identity, `the spool ${spoolFolder}`)
        this.#watching.push(this.#tellFound(found))
      }
      await this.#receive(stop).catch(async (error: unknown) => {
        // What is synced is shipped all the same, within the time that a stop would give it.
        await this.#drain(AbortSignal.abort()).catch(() => undefined)
        throw error
      })
      await this.#drain(stop)
    } finally {
      this.#cut.abort(new Error('stopped'))
      await lookingAfter
      await backingUp
      await Promise.all(this.#watching)
      await this.#startingPoint.settled()
      await this.#pipeline?.shipping.catch(() => undefined)
      await this.#pipeline?.keeping
      if (this.#isClaimed) await this.#pipeline?.keeper.leave()
      await listener?.close()
      await this.#pipeline?.spool.close()
    }
  }

  /** Why it is not ready; empty while WAL flows and nothing needs a hand. */
  reasons(): Reason[] {
    return this.#observer.reasons()
  }

  /**
   * Only after a while: a store that answers soon says that most of it is shipped, and an idle server's would be told as
   * a loss of hours until then.
   */
  async #tellFound(found: readonly LastWrite[]): Promise<void> {
    await sleep(archivePatienceMs, this.#cut.signal).catch(() => undefined)
    this.positions.noteFound(found)
  }

  #capture(): Capture {
    const { spool = null, shipper = null } = this.#pipeline ?? {}
    const { state, met, problem } = this.#receiver
    const storeProblems = [this.#store.problem, shipper?.problem ?? null].filter((one) => one !== null)
    return { state, met, receiveProblem: problem, storeProblems, spool, shipper }
  }

  async #lookAfterOtherHosts(): Promise<void> {
    const { target, slot, requireSlot, ack } = this.#config
    if (target.hosts.length === 1) return
    const hosts = new OtherHosts({
      target,
      slot,
      requireSlot,
      streamed: () => this.#receiver.streamed,
      durable: () => (ack === 'store' ? this.positions.shipped : this.positions.synced),
      clock: systemClock,
      log: this.#log,
    })
    await hosts.run(this.#cut.signal)
  }

  /** Until the first signal: what is drained after it is WAL alone. */
  async #backUp(stop: AbortSignal): Promise<void> {
    if (this.#backups === null) return
    const end = new AbortController()
    const onEnd = (): void => end.abort(new Error('stopped'))
    for (const signal of [stop, this.#cut.signal]) signal.addEventListener('abort', onEnd, { once: true })
    if (stop.aborted) onEnd()
    const { schedule, take } = this.#backups
    const takeOne = (signal: AbortSignal): Promise<Taken> => take(signal, this.#metrics)
    const common = { clock: systemClock, log: this.#log, record: this.#observer.record }
    await runSchedule({ schedule, take: takeOne, ...common }, end.signal)
    for (const signal of [stop, this.#cut.signal]) signal.removeEventListener('abort', onEnd)
  }

  #open(cluster: ClusterOfSpool, knownFrom: string): Pipeline {
    const { segmentBytes } = cluster
    const folder = this.#config.spoolFolder
    const spool = new Spool(
      {
        folder,
        segmentBytes,
        positions: this.positions,
        onSync: (seconds) => this.#metrics.observe('walferry_fsync_duration_seconds', seconds),
        onSynced: (bytes) => this.#metrics.add('walferry_synced_bytes_total', bytes),
      },
      this.#scan,
    )
    const [oldest] = spool.segments()
    const { end } = this.#scan
    if (end !== null) {
      const { lsn } = end.place
      const upTo = end.proved ? lsn : segmentStart(segnoOf(lsn, segmentBytes), segmentBytes)
      this.positions.startAt(upTo, oldest === undefined ? upTo : segmentStart(oldest.segment.segno, segmentBytes))
      this.#log.info('found in the spool', { upTo: formatLsn(upTo), segments: spool.segments().length })
    }
    const mine = { systemIdentifier: String(cluster.systemIdentifier), segmentBytes }
    const shipper = new Shipper({
      spool,
      archive: this.#archive,
      isStillOurs: (signal) => isStillOurs(this.#archive, mine, { signal }),
      positions: this.positions,
      // What commits wait for does not wait for an interval.
      shipIntervalMs: this.#config.ack === 'store' ? 0 : this.#config.shipIntervalMs,
      uploadConcurrency: this.#config.uploadConcurrency,
      codec: this.#config.codec,
      clock: systemClock,
      log: this.#log,
      metrics: this.#metrics,
    })
    const claimed = this.#claim(mine)
    const shipping = claimed.then(() => shipper.run(this.#cut.signal))
    const keeper = new BacklogKeeper({
      slot: this.#config.slot,
      host: hostname(),
      spool,
      positions: this.positions,
      store: this.#archive.store,
      clock: systemClock,
      log: this.#log,
    })
    const keeping = claimed.then(() => keeper.run(this.#cut.signal)).catch(() => undefined)
    // It is awaited later, by whoever needs it.
    claimed.then(
      () => {
        this.#isClaimed = true
        this.#watching.push(this.#observer.runArchive())
      },
      (error: unknown) => this.#refused.abort(error),
    )
    shipping.catch(() => undefined)
    const isClaimed = (): boolean => this.#isClaimed
    this.#pipeline = { cluster, knownFrom, spool, shipper, claimed, isClaimed, shipping, keeper, keeping }
    return this.#pipeline
  }

  /** Until the store answers, for ever. Rejects with ARCHIVE_FOREIGN or ENCRYPTION_KEY. */
  async #claim(mine: ClusterIdentity): Promise<void> {
    await this.#store.ask((signal) => claimArchive(this.#archive, mine, { signal, now: new Date() }), this.#cut.signal)
  }

  /** Ends when the receiver does, or when the archive turns out to be another cluster's. */
  async #receive(stop: AbortSignal): Promise<void> {
    const { signal: refused } = this.#refused
    const end = new AbortController()
    const onStop = (): void => end.abort(stop.reason)
    const onRefused = (): void => end.abort(refused.reason)
    stop.addEventListener('abort', onStop, { once: true })
    refused.addEventListener('abort', onRefused, { once: true })
    if (stop.aborted) onStop()
    try {
      await this.#receiver.run(end.signal)
    } catch (error) {
      if (!this.#isWorthStaying(error)) throw error
      // Halted: what is in the spool is still shipped, and /readyz tells why nothing more comes.
      if (isError(error, 'SPOOL_CONFLICT')) this.#metrics.add('walferry_conflicts_total', 1, { place: 'spool' })
      this.#log.error(
        `receiving halted: ${describe(error)}`,
        isError(error) ? { code: error.code, hint: error.hint } : {},
      )
      await new Promise<void>((resolve) => {
        if (stop.aborted) resolve()
        else stop.addEventListener('abort', () => resolve(), { once: true })
      })
      throw error
    } finally {
      stop.removeEventListener('abort', onStop)
      refused.removeEventListener('abort', onRefused)
    }
    refused.throwIfAborted()
  }

  /** Whether to stay, with everything that is here, until somebody has looked; or to refuse to start. */
  #isWorthStaying(error: unknown): boolean {
    return this.#config.loop && isError(error, 'SPOOL_CONFLICT', 'SERVER_LOST_WAL', 'WAL_REMOVED')
  }

  /** Throws SERVER_FOREIGN. */
  #accept(server: ServerIdentity): Pipeline {
    const pipeline = this.#pipeline ?? this.#open(server, 'the server that was connected first')
    checkIdentity(server, { ...pipeline.cluster, from: pipeline.knownFrom })
    return pipeline
  }

  async #drain(stop: AbortSignal): Promise<void> {
    const pipeline = this.#pipeline
    // Where the store has not answered yet, only what has to be shipped is worth waiting for.
    if (pipeline === null || (!this.#isClaimed && this.positions.shipped >= this.positions.synced)) return
    pipeline.shipper.drain()
    const late = new AbortController()
    const limit = async (): Promise<void> => {
      // At endpos there is no hurry: only a stop sets the limit.
      if (!stop.aborted) await orAbort(new Promise<never>(() => undefined), stop).catch(() => undefined)
      await sleep(this.#config.drainTimeoutMs, late.signal)
    }
    const shipped = pipeline.shipping.then(() => true)
    const done = await Promise.race([shipped, limit().then(() => false)]).finally(() =>
      late.abort(new Error('drained')),
    )
    const { synced, shipped: upTo } = this.positions
    // Nothing was ever received, so there is nothing to tell of it.
    if (done && synced === lsnZero) return
    if (done) this.#log.info('everything is shipped', { upTo: formatLsn(upTo) })
    else {
      this.#log.warn('stopped before everything was shipped: the rest stays in the spool for the next start', {
        shipped: formatLsn(upTo),
        synced: formatLsn(synced),
        bytes: bytesBetween(upTo, synced),
      })
    }
  }
}

async function prepareFolder(folder: string): Promise<void> {
  try {
    // Nobody else needs to read WAL, which holds every row.
    await makeFolder(folder, 0o700)
  } catch (cause) {
    throw new WalferryError('SPOOL_FAILED', `the spool ${folder} cannot be used`, {
      cause,
      hint: 'Check its path and permissions.',
    })
  }
}
