/**
 * Makes durable what one stream has written, and tells how far it is.
 *
 * The syncs of several files run beside each other, in any order: a whole segment's from the moment that it is whole, the
 * open one's as soon as there is something to sync, one at a time, so commits that wait for us are grouped by the disk's
 * own pace and never by a timer. What is told moves in order only, over files that are synced without a hole: whole ones
 * get their final names first, one after the other, and where a name is new, the folder is synced.
 *
 * A sync that fails is never tried once more, and nothing at or behind it is told: after a failed one the system takes
 * pages for written that are not, and the next one seems to work.
 */
import { syncFolder } from '../kit/durable-fs.ts'
import { type Lsn, plus } from '../wal/lsn.ts'
import { isSameSegment, type Segment, segmentStart } from '../wal/segment.ts'
import { SegmentFile } from './segment-file.ts'
import { spoolError } from './spool-error.ts'
import { type Durable, dueOf, durableOf } from './sync-plan.ts'

export interface SyncerOptions {
  readonly folder: string
  readonly segmentBytes: number
  /** How long each fdatasync took. */
  readonly onSync: (seconds: number) => void
  /** The stream is durable up to here, and these segments are whole. */
  readonly onSynced: (upTo: Lsn, wholes: readonly Segment[]) => void
  /** Something that was under way has ended: more may be synced, or written. */
  readonly onEnded: () => void
  readonly onFailed: (error: unknown, doing: string) => void
}

/** A file that the stream has written to and that is not whole and durable yet. */
interface Open {
  readonly file: SegmentFile
  synced: number
  isSyncing: boolean
}

/** Files that may wait for their sync, or be in it: more would only fill the page cache with what is not durable. */
const maxFiles = 8
/** So much is synced in the event loop where the disk is quick: a trip to the thread pool would cost as much again. */
const smallBytes = 32 * 1024

export class Syncer {
  readonly #options: SyncerOptions
  /** Oldest first. */
  readonly #files: Open[] = []
  /** What the disk has not answered yet, oldest first, and since when. */
  readonly #underWay = new Map<Promise<void>, number>()
  #isNaming = false
  #syncedUpTo: Lsn
  #isGivenUp = false

  /** @param first the segment that the stream begins with, at its start. */
  constructor(options: SyncerOptions, first: Segment) {
    this.#options = options
    this.#syncedUpTo = segmentStart(first.segno, options.segmentBytes)
  }

  /** How far the stream is durable. */
  get syncedUpTo(): Lsn {
    return this.#syncedUpTo
  }

  /** True while no more should be written. */
  get isFull(): boolean {
    return this.#files.length >= maxFiles
  }

  /** What the disk owes an answer for longest; null while there is nothing. It does not reject. */
  get underWay(): Promise<void> | null {
    const [first] = this.#underWay.keys()
    return first ?? null
  }

  /** Since when, by `performance.now()`. */
  get underWaySinceMs(): number | null {
    const [first] = this.#underWay.values()
    return first ?? null
  }

  /** Opens the file of the stream's next segment, to be written to; `known`: see SegmentFile. */
  open(segment: Segment, known: number): SegmentFile {
    const file = SegmentFile.open(this.#options.folder, segment, this.#options.segmentBytes, known)
    this.#files.push({ file, synced: 0, isSyncing: false })
    return file
  }

  /** Whether a segment's file is open here. */
  has(segment: Segment): boolean {
    return this.#files.some(({ file }) => isSameSegment(file.segment, segment))
  }

  /** Begins no more syncs. Those that are under way go on, and what they make durable is told. */
  giveUp(): void {
    this.#isGivenUp = true
  }

  /** Starts syncing what is written, as far as that is not under way. `isAll`: nothing more waits to be written. */
  sync(isAll: boolean): void {
    if (this.#isGivenUp) return
    if (isAll && this.#syncNow()) return
    for (const one of dueOf(this.#files)) this.#track(this.#sync(one))
  }

  /** Closes all files, under the names that a later stream looks for. Nothing may be under way. Throws SPOOL_FAILED. */
  async close(): Promise<void> {
    for (let one = this.#files[0]; one !== undefined; one = this.#files[0]) {
      const { file } = one
      try {
        await file.becomePartial()
        this.#files.shift()
        await file.close()
      } catch (error) {
        throw spoolError(error, `close ${file.name}`)
      }
    }
  }

  /** In the event loop, if nothing but a little data of one file is to be made durable; false if that is for the thread pool. */
  #syncNow(): boolean {
    const [one] = this.#files
    if (one === undefined || this.#files.length > 1 || this.#underWay.size > 0) return false
    const { file } = one
    const { written } = file
    if (file.isFull || file.nameIsNew || written === one.synced || written - one.synced > smallBytes) return false
    try {
      if (!file.syncNow()) return false
    } catch (error) {
      this.#failed(error)
      return true
    }
    one.synced = written
    this.#tell([{ file, bytes: written, isWhole: false }])
    this.#options.onSync(file.syncMs / 1000)
    return true
  }

  async #sync(one: Open): Promise<void> {
    // What is written while this runs waits for the next one. And it stays "syncing" where it fails.
    const { written } = one.file
    one.isSyncing = true
    await one.file.sync()
    one.isSyncing = false
    one.synced = written
    this.#publish()
    this.#options.onSync(one.file.syncMs / 1000)
  }

  /** Tells what has become durable, at once where no name is new. */
  #publish(): void {
    if (this.#isNaming) return
    const parts = durableOf(this.#files)
    const last = parts.at(-1)
    if (last === undefined || this.#endOf(last) === this.#syncedUpTo) return
    if (parts.some(({ file, isWhole }) => isWhole || file.nameIsNew)) this.#track(this.#nameAndTell(parts))
    else this.#tell(parts)
  }

  async #nameAndTell(parts: readonly Durable<SegmentFile>[]): Promise<void> {
    // It stays so where this fails.
    this.#isNaming = true
    const wholes = parts.filter(({ isWhole }) => isWhole)
    // In order: a start takes what lies open behind a whole segment for its continuation, and before one for left.
    // A crash right here leaves a whole segment under its partial name: it is received or recovered again.
    for (const { file } of wholes) await file.becomeWhole()
    // Their names are there, so they become durable, too.
    const named = [...this.#files]
    await syncFolder(this.#options.folder)
    for (const { file } of named) file.nameIsNew = false
    this.#isNaming = false
    this.#files.splice(0, wholes.length)
    this.#tell(parts)
    for (const { file } of wholes) this.#track(file.close())
    this.#publish()
  }

  #tell(parts: readonly Durable<SegmentFile>[]): void {
    const last = parts.at(-1)
    if (last === undefined) return
    this.#syncedUpTo = this.#endOf(last)
    const wholes = parts.filter(({ isWhole }) => isWhole)
    this.#options.onSynced(
      this.#syncedUpTo,
      wholes.map(({ file }) => file.segment),
    )
  }

  #endOf({ file, bytes }: Durable<SegmentFile>): Lsn {
    return plus(segmentStart(file.segment.segno, this.#options.segmentBytes), bytes)
  }

  /** It counts as under way until it has ended. */
  #track(work: Promise<void>): void {
    const tracked = work.then(
      () => {
        this.#underWay.delete(tracked)
        this.#options.onEnded()
      },
      (error: unknown) => {
        this.#underWay.delete(tracked)
        this.#failed(error)
      },
    )
    this.#underWay.set(tracked, performance.now())
  }

  #failed(error: unknown): void {
    this.#isGivenUp = true
    this.#options.onFailed(error, 'sync the spool')
  }
}
