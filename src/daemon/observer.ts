/**
 * All that a receiver tells of itself, and looks at to be able to: metrics, readiness, status, and the listener that
 * serves them. It runs beside the capture, and no failure in it disturbs that.
 */
import type { Archive } from '../archive/archive.ts'
import { type NewestBackup, newestBackup } from '../archive/backups.ts'
import { systemClock } from '../kit/clock.ts'
import type { WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { MetricsRegistry } from '../metrics/registry.ts'
import type { MetServer, ReceiverState } from '../receive/receiver.ts'
import { type Listener, type ListenOptions, listen } from '../serve/listener.ts'
import type { Reason } from '../serve/routes.ts'
import { Sampler } from '../serve/sampler.ts'
import type { Shipper } from '../ship/shipper.ts'
import type { Positions } from '../spool/positions.ts'
import type { Spool } from '../spool/spool.ts'
import { BackupRecord } from './backup-record.ts'
import type { Schedule } from './backup-schedule.ts'
import { DiskWatch, diskSpaceOf } from './disk-watch.ts'
import { GapWatch } from './gap-watch.ts'
import { beginCounters, ProblemGauge, setGauges } from './gauges.ts'
import { keepLooking } from './keep-looking.ts'
import type { Known } from './known.ts'
import { RateMeter } from './rate-meter.ts'
import { reasonsAgainst } from './readiness.ts'
import { RestorableWatch } from './restorable-watch.ts'
import { SlotWatch } from './slot-watch.ts'
import { tellFlow, tellStatus } from './tell-status.ts'

/** How the capture stands at this moment. */
export interface Capture {
  readonly state: ReceiverState
  /** The server that is, or was last, streamed from: a new object for each stream. */
  readonly met: MetServer | null
  /** What is wrong with the server or the spool, and with the store. */
  readonly receiveProblem: WalferryError | null
  readonly storeProblems: readonly WalferryError[]
  /** null while the cluster is not known. */
  readonly spool: Spool | null
  readonly shipper: Shipper | null
}

export interface ObserverOptions {
  readonly version: string
  readonly slot: string
  readonly spoolFolder: string
  readonly listen: Omit<ListenOptions, 'log'> | null
  readonly archive: Archive
  /** The schedule of base backups, and as it was given. */
  readonly backups: { readonly schedule: Schedule; readonly text: string } | null
  readonly positions: Positions
  readonly capture: () => Capture
  readonly log: Log
  /** Ends every look that is under way. */
  readonly signal: AbortSignal
}

export class Observer {
  /** Of the base backups. */
  readonly record: BackupRecord
  readonly gaps: GapWatch
  readonly restorable: RestorableWatch
  readonly #options: ObserverOptions
  readonly #metrics: MetricsRegistry
  readonly #problems = new ProblemGauge()
  readonly #startedAt = new Date(systemClock.nowMs())
  readonly #disk: DiskWatch
  readonly #rate: RateMeter
  readonly #slot: SlotWatch
  readonly #sampler: Sampler

  constructor(options: ObserverOptions) {
    const { archive, positions, capture, log, signal } = options
    const clock = systemClock
    this.#options = options
    const metrics = new MetricsRegistry((registry) => this.#refresh(registry))
    metrics.set('walferry_build_info', 1, { version: options.version })
    beginCounters(metrics)
    this.#metrics = metrics
    this.#disk = new DiskWatch(() => diskSpaceOf(options.spoolFolder))
    this.#rate = new RateMeter(positions, clock)
    this.#slot = new SlotWatch({
      slot: options.slot,
      server: () => capture().met,
      isStreaming: () => capture().state === 'streaming',
      clock,
      log,
    })
    this.gaps = new GapWatch(archive.store, log)
    const newest = (known: NewestBackup | null, inner: AbortSignal): Promise<NewestBackup | null> =>
      newestBackup(archive, { known, shipped: positions.shipped, signal: inner })
    this.record = new BackupRecord({ newest, shipped: () => positions.shipped, clock, log, metrics })
    this.#sampler = new Sampler(async () => tellFlow({ positions, state: capture().state }), clock)
    this.restorable = new RestorableWatch({
      archive,
      positions,
      newest: () => this.record.newest,
      onListed: (listed, before) => this.record.listed(listed, before),
      gaps: () => this.gaps.all,
      timeline: () => capture().met?.timeline ?? null,
      segmentBytes: () => capture().spool?.segmentBytes ?? null,
      clock,
      signal,
    })
  }

  /** For the rooms that count what happens. */
  get metrics(): Metrics {
    return this.#metrics
  }

  /** Why it is not ready; empty while WAL flows and nothing needs a hand. */
  reasons(): Reason[] {
    const { state, receiveProblem, storeProblems } = this.#options.capture()
    return reasonsAgainst({
      state,
      problems: receiveProblem === null ? storeProblems : [receiveProblem, ...storeProblems],
      slotName: this.#options.slot,
      slot: this.#slot.seen,
      gaps: this.gaps.gaps,
    })
  }

  /** null where nobody is to ask. Throws BAD_INPUT. */
  async listen(): Promise<Listener | null> {
    const { listen: at, log } = this.#options
    if (at === null) return null
    const listener = await listen(
      { ...at, log },
      {
        contentType: this.#metrics.contentType,
        metrics: () => this.#metrics.text(),
        reasons: () => this.reasons(),
        status: async () => tellStatus(await this.#know()),
        history: () => this.#sampler.history(),
        archive: () => this.restorable.view.answer(),
      },
    )
    log.info('listening', { url: listener.url })
    return listener
  }

  /** Looks until the signal aborts; resolves once nothing of it is under way any more. */
  async run(): Promise<void> {
    const { signal, listen: at, log } = this.#options
    await Promise.all([
      keepLooking('slot', () => this.#slot.run(signal), log, signal),
      keepLooking('rate', () => this.#rate.run(signal), log, signal),
      at === null ? null : keepLooking('history', () => this.#sampler.run(signal), log, signal),
    ])
    await this.restorable.view.settled()
  }

  /** The same for what only the archive tells, once it is known to be ours. */
  async runArchive(): Promise<void> {
    const { signal, log } = this.#options
    await Promise.all([
      keepLooking('gaps', () => this.gaps.run(signal), log, signal),
      keepLooking('backups', () => this.record.run(signal), log, signal),
      keepLooking('windows', () => this.restorable.run(signal), log, signal),
    ])
  }

  async #refresh(metrics: Metrics): Promise<void> {
    const known = await this.#know()
    setGauges(metrics, known)
    this.#problems.set(metrics, known)
  }

  async #know(): Promise<Known> {
    const disk = await this.#disk.space()
    const { positions, archive, backups } = this.#options
    const { state, met, storeProblems, spool, shipper } = this.#options.capture()
    const lastUploadMs = shipper?.lastUploadMs ?? null
    const now = new Date(systemClock.nowMs())
    return {
      version: this.#options.version,
      now,
      startedAt: this.#startedAt,
      state,
      reasons: this.reasons(),
      server: met,
      positions,
      rate: this.#rate.rate,
      spoolFolder: this.#options.spoolFolder,
      segments: spool?.segments() ?? [],
      segmentBytes: spool?.segmentBytes ?? null,
      disk,
      storeUrl: archive.store.url,
      storeProblem: storeProblems[0] ?? null,
      uploadsInFlight: shipper?.inFlight ?? 0,
      lastUpload: lastUploadMs === null ? null : new Date(lastUploadMs),
      slotName: this.#options.slot,
      slot: this.#slot.seen,
      backups: {
        running: this.record.isRunning,
        lastSuccess: this.record.lastSuccess,
        lastFailure: this.record.lastFailure,
        schedule: backups?.text ?? null,
        next: backups?.schedule(now) ?? null,
      },
      restorable: this.restorable.restorable,
      gaps: this.gaps.gaps,
    }
  }
}
