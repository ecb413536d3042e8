/**
 * Carries segments and tails from the spool to the archive: acts on what plan.ts decides, remembers what the store has
 * of each segment, moves `shipped`, and removes from the spool what is proved in the archive.
 *
 * While the store fails, everything is tried again, for ever, with growing pauses, and WAL gathers in the spool. What no
 * retry can mend (other content under a key of ours) halts the shipper; the spool keeps everything.
 *
 * What a crash leaves: objects in the store are whole or absent, so a restart looks, compares and goes on.
 */
import type { Archive } from '../archive/archive.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import { coveredBytes } from '../archive/tail.ts'
import { Bell } from '../kit/bell.ts'
import type { Clock } from '../kit/clock.ts'
import type { Merge } from '../archive/tail.ts'
import type { WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import type { Positions } from '../spool/positions.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import type { Spool } from '../spool/spool.ts'
import { forkOf } from '../wal/history.ts'
import { earlierOf, type Lsn, laterOf, lsnZero, plus } from '../wal/lsn.ts'
import { historyName, segmentStart } from '../wal/segment.ts'
import { Attempts } from './attempts.ts'
import { Carrier } from './carrier.ts'
import {
  frontOf,
  isCovered,
  nextHistories,
  nextTasks,
  nextToFind,
  nextToSettle,
  type PlanInput,
  type Shipment,
  type Task,
  unshippedTail,
} from './plan.ts'
import { Pruner } from './pruner.ts'
import { Record, type Whole } from './record.ts'
import { briefly, Settler } from './settler.ts'
import { seenForMs, Sighting } from './sighting.ts'

export interface ShipperOptions {
  readonly spool: Spool
  readonly archive: Archive
  /** Whether the store still holds the archive that was claimed. */
  readonly isStillOurs: (signal: AbortSignal) => Promise<boolean>
  readonly codec: WritableCodec
  readonly positions: Positions
  /** How long a synced byte of the tail may wait; 0 ships as soon as the previous chunk is stored. */
  readonly shipIntervalMs: number
  readonly uploadConcurrency: number
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class Shipper {
  readonly #options: ShipperOptions
  readonly #attempts: Attempts
  readonly #sighting: Sighting
  readonly #carrier: Carrier
  readonly #settler: Settler
  readonly #pruner: Pruner
  /** Rings when a task has ended, and when draining begins: cuts a rest short. */
  readonly #wake = new Bell()
  #records = new Map<string, Record>()
  /** Timelines whose history file is in the store, and those for which it is on its way. */
  readonly #historiesStored = new Set<number>()
  readonly #historiesBusy = new Set<number>()
  #isFirstLook = true
  #tasks = new Set<Promise<void>>()
  /** Since when bytes of the tail wait that no chunk under way carries. */
  #waitingSinceMs: number | null = null
  /** Up to which byte of its segment the chunk under way reaches. */
  #chunkTo = 0
  #draining = false

  constructor(options: ShipperOptions) {
    this.#options = options
    this.#attempts = new Attempts({ ...options, what: 'shipping' })
    // What was put elsewhere is not in it: chunks are looked for anew. Whole segments were confirmed.
    const onAbsent = (): void => {
      this.#forgetFound()
      for (const record of this.#records.values()) if (!record.stored) record.chunks = null
    }
    this.#sighting = new Sighting({ ...options, url: options.archive.store.url, onAbsent })
    this.#carrier = new Carrier({ ...options, source: options.spool, aside: true })
    this.#settler = new Settler({
      ...options,
      carrier: this.#carrier,
      confirm: (signal) => this.#sighting.confirm(seenForMs, signal),
      isHalted: () => this.#halted !== null,
      onSettled: () => {
        this.#pruner.ask()
        this.#ring()
      },
    })
    const { clock, log } = options
    this.#pruner = new Pruner({ prune: (signal) => this.#prune(signal), onEnd: () => this.#ring(), clock, log })
  }

  /** Uploads under way. */
  get inFlight(): number {
    return this.#tasks.size
  }

  /** When something was last stored; null for never. */
  get lastUploadMs(): number | null {
    return this.#carrier.lastStoredMs
  }

  /** What the store refuses at the moment, or null. */
  get problem(): WalferryError | null {
    return this.#halted ?? this.#attempts.problem ?? this.#settler.problem
  }

  get #halted(): WalferryError | null {
    return this.#attempts.halted ?? this.#settler.halted
  }

  /**
   * Ships until `signal` aborts (which rejects), or until everything synced is shipped after `drain`. Rejects with what
   * halted it. Nothing is under way any more when it settles.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { bell } = this.#options.positions
    try {
      for (;;) {
        signal.throwIfAborted()
        if (this.#halted !== null) throw this.#halted
        const seen = bell.count
        const woken = this.#wake.count
        const shipments = this.#look()
        this.#advance(shipments)
        this.#notice(shipments)
        // One moment for both: what falls due between two looks at the clock would be neither begun nor waited for.
        const nowMs = this.#options.clock.monotonicMs()
        this.#launch(shipments, nowMs, signal)
        this.#pruner.begin(nowMs, signal)
        const isBusy = this.#tasks.size > 0 || this.#pruner.underWay !== null
        // Nothing is left to do, or only what the store refuses just now and the next start does: deleting chunks.
        if (this.#draining && !isBusy && this.#isDrained(shipments)) return
        const pauses = [this.#pauseMs(nowMs), this.#settler.pauseMs(nowMs), this.#pruner.pauseMs(nowMs)]
        const pauseMs = leastOf(...pauses)
        const restMs = this.#draining ? 0 : Math.min(restOf(this.#options.shipIntervalMs), pauseMs ?? Infinity)
        if (restMs > 0) await this.#wake.after(woken, signal, restMs)
        await bell.after(seen, signal, pauseMs === undefined ? undefined : pauseMs - restMs)
      }
    } finally {
      await Promise.allSettled(this.#tasks)
      // Only this loop begins one.
      await this.#pruner.underWay
    }
  }

  /** From now on nothing of the tail waits for its interval, and `run` resolves once everything synced is shipped. */
  drain(): void {
    this.#draining = true
    this.#settler.tryNow()
    this.#ring()
  }

  #ring(): void {
    this.#wake.ring()
    this.#options.positions.bell.ring()
  }

  #isDrained(shipments: readonly Shipment[]): boolean {
    const { positions, spool, clock } = this.#options
    if (nextHistories(this.#planInput(shipments, clock.monotonicMs())).length > 0) return false
    // The first that is not covered is the open one, unless something of another line still waits.
    const front = frontOf(shipments, spool.segmentBytes)
    return positions.shipped >= positions.synced && (front === null || front.coveredBytes >= front.syncedBytes)
  }

  /** What lies in the spool, each with what the store has of it. */
  #look(): Shipment[] {
    const { spool, clock } = this.#options
    const records = new Map<string, Record>()
    const nowMs = clock.monotonicMs()
    const shipments = spool.segments().map((segment) => {
      const record = this.#records.get(segment.name) ?? new Record(this.#isFirstLook)
      records.set(segment.name, record)
      return shipmentOf(segment, record, spool.segmentBytes, nowMs)
    })
    this.#records = records
    this.#isFirstLook = false
    return shipments
  }

  /** A segment before which none lies in the spool follows one that was shipped and removed. */
  #advance(shipments: readonly Shipment[]): void {
    const { spool, positions } = this.#options
    let shipped: Lsn = positions.shipped
    for (const one of shipments) {
      const upTo = spool.onLine(one.segment.timeline)
      // A branch that was left is shipped as well, and says nothing of how far the line is.
      if (upTo === null) continue
      const covered = one.stored ? spool.segmentBytes : one.coveredBytes
      const end = plus(segmentStart(one.segment.segno, spool.segmentBytes), Math.min(covered, one.syncedBytes))
      shipped = laterOf(shipped, upTo === 'all' ? end : earlierOf(end, upTo))
      if (!isCovered(one, spool.segmentBytes)) break
    }
    positions.noteShipped(shipped)
  }

  #notice(shipments: readonly Shipment[]): void {
    const waits = unshippedTail(shipments, this.#options.spool.segmentBytes, this.#chunkTo) > 0
    if (!waits) this.#waitingSinceMs = null
    else this.#waitingSinceMs ??= this.#options.clock.monotonicMs()
  }

  #launch(shipments: readonly Shipment[], nowMs: number, signal: AbortSignal): void {
    if (this.#attempts.pauseMs(nowMs) !== undefined) return
    const input = this.#planInput(shipments, nowMs)
    for (const timeline of nextHistories(input)) this.#track(this.#runHistory(timeline, signal))
    for (const task of nextTasks(input)) this.#track(this.#run(task, signal))
    // What has just begun is busy already: a shipment shows what its record does.
    const toFind = nextToFind(input)
    if (toFind.length > 0) this.#track(this.#find(toFind, signal))
    const toSettle = this.#settler.pauseMs(nowMs) === undefined ? nextToSettle(input) : []
    if (toSettle.length > 0) this.#track(this.#settle(toSettle, signal))
    this.#options.metrics.set('walferry_uploads_in_flight', this.#tasks.size)
  }

  #planInput(shipments: readonly Shipment[], nowMs: number): PlanInput {
    const { spool, uploadConcurrency, shipIntervalMs } = this.#options
    const histories = [...spool.histories].map(([timeline, { history }]) => ({
      timeline,
      fork: forkOf(history)?.switchPoint ?? lsnZero,
      stored: this.#historiesStored.has(timeline),
      busy: this.#historiesBusy.has(timeline),
    }))
    const waitedFor = this.#waitingSinceMs !== null && nowMs - this.#waitingSinceMs >= shipIntervalMs
    const tailIsDue = this.#draining || waitedFor
    return { shipments, histories, segmentBytes: spool.segmentBytes, uploadConcurrency, tailIsDue }
  }

  #track(task: Promise<void>): void {
    const running: Promise<void> = task.finally(() => {
      this.#tasks.delete(running)
      this.#options.metrics.set('walferry_uploads_in_flight', this.#tasks.size)
      this.#ring()
    })
    this.#tasks.add(running)
  }

  async #runHistory(timeline: number, signal: AbortSignal): Promise<void> {
    const file = this.#options.spool.histories.get(timeline)
    if (file === undefined) return
    this.#historiesBusy.add(timeline)
    await this.#attempt(`ship ${historyName(timeline)}`, signal, async () => {
      await this.#sighting.confirm(seenForMs, signal)
      await this.#carrier.putHistory(timeline, file.content, signal)
      await this.#sighting.confirm(0, signal)
      this.#historiesStored.add(timeline)
      await this.#succeeded(signal)
    })
    this.#historiesBusy.delete(timeline)
  }

  /** How long nothing is to do, unless the bell rings. */
  #pauseMs(nowMs: number): number | undefined {
    const pauseMs = this.#attempts.pauseMs(nowMs)
    if (pauseMs !== undefined || this.#waitingSinceMs === null) return pauseMs
    const dueMs = this.#waitingSinceMs + this.#options.shipIntervalMs
    return dueMs > nowMs ? dueMs - nowMs : undefined
  }

  async #run(task: Task, signal: AbortSignal): Promise<void> {
    const { name } = task.shipment
    const record = this.#records.get(name)
    if (record === undefined) return
    record.busy.add(task.lane)
    const waitedSinceMs = this.#waitingSinceMs
    if (task.lane === 'chunk' && task.to !== null) {
      this.#chunkTo = task.to
      this.#waitingSinceMs = null
    }
    const isDone = await this.#attempt(`ship ${name} (${task.lane})`, signal, async () => {
      await this.#sighting.confirm(seenForMs, signal)
      await this.#carry(task, record, signal)
      await this.#succeeded(signal)
    })
    record.busy.delete(task.lane)
    if (task.lane !== 'chunk') return
    this.#chunkTo = 0
    if (!isDone) this.#waitingSinceMs = waitedSinceMs
  }

  async #carry(task: Task, record: Record, signal: AbortSignal): Promise<void> {
    const { segment, left } = task.shipment
    switch (task.lane) {
      case 'whole':
        await this.#carrier.putSegment(segment, task.found, signal)
        // It leaves the spool for it.
        await this.#sighting.confirm(0, signal)
        record.stored = true
        break
      case 'chunk':
        if (task.to === null) await this.#carrier.findChunks(task.shipment, record, signal)
        else await this.#carrier.putChunk(segment, record, task.from, task.to, signal)
        if (left) this.#pruner.ask()
        break
      case 'merge':
        await this.#merge(task.shipment, record, task.merge, signal)
        break
    }
  }

  async #merge({ segment, name }: Shipment, record: Record, merge: Merge, signal: AbortSignal): Promise<void> {
    const merged = await this.#carrier.putMerged(segment, merge, signal)
    // What it replaces is deleted for it.
    await this.#sighting.confirm(0, signal)
    const gone = record.replace(merge.replaces, merged)
    if (!(await this.#settler.discard(name, gone, signal))) this.#sighting.doubt()
  }

  /** Says nothing of whether the store takes anything: that something was looked for ends no pause. */
  async #find(shipments: readonly Shipment[], signal: AbortSignal): Promise<void> {
    await this.#together(shipments, 'find', async (wholes) => {
      await this.#attempt(`look for ${briefly(wholes)}`, signal, async () => {
        await this.#sighting.confirm(seenForMs, signal)
        const { doubts } = this.#sighting
        const found = await this.#carrier.findSegments(wholes, signal)
        if (this.#sighting.doubts > doubts) return
        const atMs = this.#options.clock.monotonicMs()
        for (const { name, record } of wholes) record.found = { keys: found.get(name) ?? [], atMs }
      })
    })
  }

  async #settle(shipments: readonly Shipment[], signal: AbortSignal): Promise<void> {
    await this.#together(shipments, 'settle', async (wholes) => {
      if (!(await this.#settler.settle(wholes, signal))) this.#sighting.doubt()
    })
  }

  /** Does one thing for several whole segments. */
  async #together(
    shipments: readonly Shipment[],
    lane: 'find' | 'settle',
    work: (wholes: readonly Whole[]) => Promise<void>,
  ): Promise<void> {
    const wholes = shipments.flatMap(({ segment, name }) => {
      const record = this.#records.get(name)
      return record === undefined ? [] : [{ segment, name, record }]
    })
    for (const { record } of wholes) record.busy.add(lane)
    await work(wholes)
    for (const { record } of wholes) record.busy.delete(lane)
  }

  /** Tries something, and tells whether it went well. */
  async #attempt(doing: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    const isDone = await this.#attempts.make(doing, signal, work)
    if (isDone) return true
    this.#sighting.doubt()
    this.#forgetFound()
    return false
  }

  /** Where something has failed meanwhile, this may have gone where the archive is not. */
  async #succeeded(signal: AbortSignal): Promise<void> {
    await this.#sighting.confirm(Infinity, signal)
    this.#attempts.succeeded()
  }

  #forgetFound(): void {
    for (const record of this.#records.values()) if (!record.stored) record.found = null
  }

  /**
   * Removes what is settled from the spool: that is its mark. A whole segment before an open one stays, and so does the
   * newest: a start needs it to verify the first record of the one behind it.
   */
  async #prune(signal: AbortSignal): Promise<void> {
    const { spool } = this.#options
    const left = this.#look().filter((one) => one.left && isCovered(one, spool.segmentBytes))
    // As before a whole one leaves the spool.
    if (left.length > 0) await this.#sighting.confirm(0, signal)
    for (const one of left) await this.#remove(one, signal)
    const segments = spool.segments()
    const newest = segments.findLast((one) => one.whole)
    for (const [i, one] of segments.entries()) {
      const next = segments[i + 1]
      const leads = next?.segment.timeline === one.segment.timeline && !next.whole
      if (one === newest || leads || this.#records.get(one.name)?.settled !== true) continue
      await this.#remove(one, signal)
    }
  }

  /** Of one that has ended, the spool keeps everything. */
  async #remove({ segment }: SpoolSegment, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#halted !== null) return
    await this.#options.spool.remove(segment)
  }
}

function shipmentOf(one: SpoolSegment, record: Record, segmentBytes: number, nowMs: number): Shipment {
  const { found } = record
  return {
    ...one,
    found: found !== null && nowMs - found.atMs < seenForMs ? found.keys : null,
    stored: record.stored,
    settled: record.settled,
    refusals: record.refusals,
    chunks: record.chunks,
    lookFromBytes: record.lookFromBytes,
    coveredBytes: record.chunks === null || record.chunks.length === 0 ? 0 : coveredBytes(record.chunks, segmentBytes),
    busy: record.busy,
  }
}

function leastOf(...pauses: readonly (number | undefined)[]): number | undefined {
  const given = pauses.filter((one) => one !== undefined)
  return given.length === 0 ? undefined : Math.min(...given)
}

/**
 * How long not to look whether more is synced: a look takes the time of several commits, and nothing of the tail is due
 * before its interval has passed. A whole segment waits for so long.
 */
function restOf(shipIntervalMs: number): number {
  return Math.min(50, Math.max(5, shipIntervalMs / 10))
}
