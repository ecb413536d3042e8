/**
 * Finds where streaming goes on: asks the archive how far it reaches, compares that with the spool, and brings into the
 * spool what the archive alone has. What it finds missing on the way it tells, and notes where nobody will fill it in.
 */
import type { Archive } from '../archive/archive.ts'
import { type ArchiveEnd, archiveEnd } from '../archive/archive-end.ts'
import { parseBackupName } from '../archive/backup-keys.ts'
import { listSentinels } from '../archive/backups.ts'
import { hostInNotes, readBacklog } from '../archive/backlog.ts'
import { type GapNote, putGap } from '../archive/gaps.ts'
import { orAbort, withDeadline } from '../kit/abort.ts'
import { systemClock } from '../kit/clock.ts'
import { describe, isError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { furthestEnd } from '../receive/furthest.ts'
import { type HoleFacts, neverFilled } from '../receive/never-filled.ts'
import type { Furthest, Meeting } from '../receive/receiver.ts'
import { seedSpool } from '../receive/seed.ts'
import type { Gap } from '../receive/start.ts'
import type { Spool } from '../spool/spool.ts'
import type { CallOptions } from '../store/object-store.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import { parseSegmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import type { GapWatch } from './gap-watch.ts'
import type { RestorableWatch } from './restorable-watch.ts'
import type { StoreAsker } from './store-asker.ts'

export interface StartingPointOptions {
  readonly archive: Archive
  readonly spoolFolder: string
  readonly slot: string
  readonly host: string
  readonly store: StoreAsker
  readonly observer: {
    readonly gaps: Pick<GapWatch, 'noted' | 'lookSoon'>
    readonly restorable: Pick<RestorableWatch, 'noteHole'>
  }
  readonly log: Log
  readonly metrics: Metrics
  /** Ends everything that is still under way. */
  readonly signal: AbortSignal
}

/** The spool, and whether the archive is known to be ours. */
export interface Claiming {
  readonly spool: Spool
  /** Resolves once it is; rejects where it is another's. */
  readonly claimed: Promise<void>
  readonly isClaimed: () => boolean
}

/** What is not told yet of WAL that the archive lacks. */
type Untold = Omit<HoleFacts, 'line'> & { readonly missing: string; readonly newest: string }

/** How long a start with WAL in the spool waits for a store that does not answer, before it streams without it. */
export const archivePatienceMs = 5000

export class StartingPoint {
  readonly #options: StartingPointOptions
  /** Where the archive ended when we came; null until it was asked. */
  #archived: ArchiveEnd | 'nothing' | null = null
  #untold: Untold | null = null
  /** Notes that are being written, for as long as the store is away. */
  readonly #noting: Promise<void>[] = []

  constructor(options: StartingPointOptions) {
    this.#options = options
  }

  /**
   * @param serverEnd how far the server is: near where the archive ends, mostly.
   * @param others another receiver may have shipped since the last time.
   */
  async meet(claiming: Claiming, serverEnd: Lsn, others: boolean, signal: AbortSignal): Promise<Meeting> {
    const { spool } = claiming
    const before = others ? null : this.#archived
    const found = before ?? (await this.#lookAtArchive(claiming, serverEnd, signal))
    const archived = found === 'nothing' ? null : found
    const sure = before === null && found !== null
    this.#archived = found
    const furthestFor = (line: TimelineHistory, inner: AbortSignal): Promise<Furthest> =>
      this.#furthest(spool, archived, line, inner)
    return { spool, sure, furthestFor }
  }

  /** Makes a note of WAL that the server has removed, durably. */
  async recordGap(gap: Gap, signal: AbortSignal): Promise<void> {
    const { metrics, observer } = this.#options
    const isNew = await this.#note(gap, 'The server had removed this WAL before it was received.', signal)
    metrics.add('walferry_gaps_total', 1)
    if (isNew) observer.gaps.noted(gap)
    else observer.gaps.lookSoon()
  }

  /** Resolves when nothing is being noted any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#noting)
  }

  async #furthest(
    spool: Spool,
    archived: ArchiveEnd | null,
    line: TimelineHistory,
    signal: AbortSignal,
  ): Promise<Furthest> {
    const { archive, spoolFolder, log } = this.#options
    const end = furthestEnd({ spool: spool.provedEnd, archive: archived, line })
    if (archived !== null && end === 'archive-tail') {
      const { timeline, lsn } = archived.place
      log.info('the archive is ahead of the spool', { timeline, archive: formatLsn(lsn) })
      try {
        await seedSpool(spool, spoolFolder, archive, archived.place, signal)
      } catch (error) {
        // The archive may have changed since it was asked.
        this.#archived = null
        throw error
      }
    }
    this.#tellHole(end === 'spool' ? line : null)
    const place = end === 'spool' ? spool.end : (archived?.place ?? null)
    if (place === null) return { place, line: null, stored: null }
    const kept = spool.histories.get(place.timeline)?.history ?? null
    const same = archived?.place.timeline === place.timeline ? archived : null
    const told = same?.line ?? null
    const stored = same?.hole?.behind ?? null
    return { place, line: end === 'spool' ? (kept ?? told) : (told ?? kept), stored }
  }

  /** @param line the server's, where streaming goes on from the spool's end; null where it begins before the hole. */
  #tellHole(line: TimelineHistory | null): void {
    const { log } = this.#options
    const untold = this.#untold
    if (untold === null) return
    this.#untold = null
    const gaps = line === null ? [] : neverFilled({ ...untold, line })
    if (gaps.length === 0) log.warn('the archive has a hole', { missing: untold.missing, newest: untold.newest })
    for (const gap of gaps) this.#noting.push(this.#loseWal(gap))
  }

  /**
   * Never rejects. Receiving goes on meanwhile: WAL is kept here also while the store is away. So the gap is told before its
   * note is there.
   */
  async #loseWal(gap: Gap): Promise<void> {
    const { log, store, metrics, observer, signal } = this.#options
    const fields = { timeline: gap.timeline, from: formatLsn(gap.from), to: formatLsn(gap.to) }
    log.error(
      `WAL is lost: the archive lacks timeline ${fields.timeline} from ${fields.from} to ${fields.to}, and what is here begins behind that`,
      {
        ...fields,
        hint: 'A recovery cannot pass the gap: take a base backup now. If a server or an old spool still has the WAL: walferry push.',
      },
    )
    const reason = 'It was missing in the archive when the receiver started behind it.'
    metrics.add('walferry_gaps_total', 1)
    observer.gaps.noted(gap)
    try {
      await store.ask((asking) => this.#note(gap, reason, asking), signal)
      observer.gaps.lookSoon()
    } catch (error) {
      if (signal.aborted) return
      log.error(`the gap could not be noted in the archive: ${describe(error)}`, {
        ...fields,
        hint: 'It is told until the receiver stops; the next start looks for it again, in the newest 64 segments.',
      })
    }
  }

  /** Whether it is a new one. */
  async #note(gap: Gap, reason: GapNote['reason'], signal: AbortSignal): Promise<boolean> {
    const note = { ...gap, reason, noticedAt: new Date(systemClock.nowMs()) }
    return await putGap(this.#options.archive.store, note, { signal })
  }

  /** Where the archive ends, or null where that cannot be had in time and the spool has WAL to go on from. */
  async #lookAtArchive(
    claiming: Claiming,
    serverEnd: Lsn,
    signal: AbortSignal,
  ): Promise<ArchiveEnd | 'nothing' | null> {
    const { store, observer, log } = this.#options
    const { spool, claimed, isClaimed } = claiming
    const look = async (inner: AbortSignal): Promise<ArchiveEnd | 'nothing'> => {
      await orAbort(claimed, inner)
      const { end, untold } = await store.ask((asking) => this.#ask(spool, serverEnd, { signal: asking }), inner)
      this.#untold = untold
      // Whoever has shipped meanwhile may have met one.
      observer.gaps.lookSoon()
      if (end?.hole) {
        const { timeline, lsn } = end.place
        observer.restorable.noteHole({ timeline, from: lsn, to: end.hole.behind.from })
      }
      return end ?? 'nothing'
    }
    if (spool.end === null) return await look(signal)
    const late = new Error('the store does not answer')
    try {
      return await withDeadline(archivePatienceMs, signal, () => late, look)
    } catch (error) {
      if (error !== late) throw error
      log.warn('the store does not answer: streaming goes on from where the spool ends')
      // From here on the shipper tells what is wrong with the store, once it has begun.
      if (isClaimed()) store.forgetProblem()
      return null
    }
  }

  async #ask(
    spool: Spool,
    serverEnd: Lsn,
    options: CallOptions,
  ): Promise<{ readonly end: ArchiveEnd | null; readonly untold: Untold | null }> {
    const { archive } = this.#options
    const { segmentBytes } = spool
    const held = { end: spool.end, segments: spool.segments() }
    const end = await archiveEnd(archive, { ...options, segmentBytes, near: segnoOf(serverEnd, segmentBytes) })
    if (end === null || end.hole === null) return { end, untold: null }
    const { timeline } = end.place
    const { missing, newest, lacks } = end.hole
    const backupStarts = await this.#backupStarts(timeline, segmentBytes, options)
    const isElsewhere = await this.#isElsewhere(options)
    return {
      end,
      untold: { timeline, lacks, missing, newest, spool: held, segmentBytes, backupStarts, isElsewhere },
    }
  }

  async #backupStarts(timeline: number, segmentBytes: number, options: CallOptions): Promise<Lsn[]> {
    const starts: Lsn[] = []
    for await (const { name } of listSentinels(this.#options.archive.store, options)) {
      const parsed = parseBackupName(name)
      const segment = parsed === null ? null : parseSegmentName(parsed.segment, segmentBytes)
      if (segment?.timeline === timeline) starts.push(segmentStart(segment.segno, segmentBytes))
    }
    return starts
  }

  /** A note that cannot be read is one, too. */
  async #isElsewhere(options: CallOptions): Promise<boolean> {
    const { archive, slot } = this.#options
    const host = hostInNotes(this.#options.host)
    try {
      const notes = await readBacklog(archive.store, options)
      return notes.some((one) => one.slot !== slot || one.note.host !== host)
    } catch (error) {
      if (isError(error, 'ARCHIVE_DAMAGED')) return true
      throw error
    }
  }
}
