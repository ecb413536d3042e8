/**
 * Knows to which moment the archive can bring the database. Mostly the newest base backup and what is shipped tell that,
 * without a request. Where they do not, it looks at the recovery windows, which costs a listing of all WAL: the same
 * look as the page's, with the same rest behind it, and only if anything has changed since the last one. While the newest
 * window grows with what is shipped, more WAL changes nothing.
 */
import type { Archive } from '../archive/archive.ts'
import type { NewestBackup } from '../archive/backups.ts'
import type { GapName } from '../archive/keys.ts'
import { summarise } from '../audit/archive-status.ts'
import { type ListedWindow, type Listing, listArchive } from '../audit/listing.ts'
import { tellValue } from '../audit/tell-listing.ts'
import type { ToldListing } from '../audit/told-listing.ts'
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { ArchiveView } from '../serve/archive-view.ts'
import type { Positions } from '../spool/positions.ts'
import type { Lsn } from '../wal/lsn.ts'
import type { ListedBackups } from './backup-record.ts'
import {
  growsOn,
  needsWindows,
  reachedBy,
  type Restorable,
  type RestorableFacts,
  restorableOf,
  type SeenHole,
  type SeenWindows,
} from './restorable.ts'

export interface RestorableWatchOptions {
  readonly archive: Archive
  readonly positions: Positions
  readonly newest: () => NewestBackup | 'none' | null
  /** Called after each look; `before` is what was known as the newest one when it began. */
  readonly onListed: (listed: ListedBackups, before: NewestBackup | 'none' | null) => void
  /** All that were ever noted. */
  readonly gaps: () => readonly GapName[] | null
  /** The timeline that is, or was last, streamed; null before. */
  readonly timeline: () => number | null
  /** null while the cluster is not known. */
  readonly segmentBytes: () => number | null
  readonly clock: Clock
  /** Ends a look that is under way. */
  readonly signal: AbortSignal
}

/** What a look depends on. */
interface Situation {
  /** Base backup, gaps and timeline. */
  readonly known: string
  readonly shipped: Lsn
}

const everyMs = 5000

export class RestorableWatch {
  /** For the page. */
  readonly view: ArchiveView
  readonly #options: RestorableWatchOptions
  #listed: readonly ListedWindow[] = []
  #windows: SeenWindows | null = null
  #holes: readonly SeenHole[] = []
  /** What was known when the last look that succeeded began. */
  #lookedAt: Situation | null = null

  constructor(options: RestorableWatchOptions) {
    this.#options = options
    this.view = new ArchiveView((signal) => this.#look(signal), options.clock, options.signal)
  }

  /** null while it is not known. */
  get restorable(): Restorable | null {
    return restorableOf(this.#facts())
  }

  /** Somebody has seen that WAL is missing, and WAL behind it is there. */
  noteHole(hole: Omit<SeenHole, 'reached'>): void {
    const others = this.#holes.filter(({ timeline, from }) => timeline !== hole.timeline || from !== hole.from)
    this.#holes = [...others, { ...hole, reached: this.#reached() }]
    this.#windows = null
    this.#lookedAt = null
  }

  /** Looks where it has to, until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(everyMs, signal).catch(() => undefined)
      if (signal.aborted) return
      if (this.#isDue()) this.view.answer()
    }
  }

  async #look(signal: AbortSignal): Promise<ToldListing> {
    const { archive, clock, newest, onListed } = this.#options
    const [now, reached, before] = [this.#situation(), this.#reached(), newest()]
    const listing = await listArchive(archive, { signal }, this.#listed)
    this.#listed = listing.windows
    const { restorable } = summarise(listing, [], new Date(clock.nowMs()))
    this.#windows = { newest: restorable, isAmbiguous: listing.tree.length > 0, reached }
    this.#holes = listing.gaps.map((gap) => ({ ...gap, reached }))
    this.#lookedAt = now
    onListed(listedIn(listing), before)
    return tellValue(listing)
  }

  #facts(): RestorableFacts {
    const { newest, gaps, timeline: streamed, positions } = this.#options
    const timeline = streamed()
    return {
      newest: newest(),
      gaps: gaps(),
      holes: this.#holes,
      shipped: timeline === null ? null : { timeline, lsn: positions.shipped },
      walMs: positions.restorableTimeMs(),
      windows: this.#windows,
    }
  }

  #reached(): Lsn {
    const { segmentBytes, positions } = this.#options
    return reachedBy(positions.shipped, segmentBytes())
  }

  #isDue(): boolean {
    const facts = this.#facts()
    if (!needsWindows(facts)) return false
    const [now, before] = [this.#situation(), this.#lookedAt]
    if (before === null || now.known !== before.known) return true
    return !growsOn(facts) && now.shipped !== before.shipped
  }

  #situation(): Situation {
    const { newest, gaps, shipped } = this.#facts()
    const backup = newest === null || newest === 'none' ? newest : newest.name
    return { known: [backup, gaps?.length, shipped?.timeline].join(' '), shipped: this.#options.positions.shipped }
  }
}

function listedIn({ backups, damaged }: Listing): ListedBackups {
  const all = backups.map(({ backup: { name, modified, ...place }, standing }) => ({
    name,
    completed: modified,
    place: standing === 'usable' ? place : null,
  }))
  const newest = all.reduce<NewestBackup | null>(
    (last, one) => (last === null || one.completed > last.completed ? one : last),
    null,
  )
  return { newest, names: new Set([...all, ...damaged].map(({ name }) => name)) }
}
