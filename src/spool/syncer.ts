/**
 * Makes durable what one stream has written, in rounds: fdatasync of every file that has news, all at once, the final
 * names of whole ones, one fsync of the folder where a name is new, and only then says that it is synced. It starts as
 * soon as there is something to sync, so commits that wait for us are grouped by the disk's own pace and never by a timer.
 */
import { syncFolder } from '../kit/durable-fs.ts'
import { type Lsn, plus } from '../wal/lsn.ts'
import { isSameSegment, type Segment, segmentStart } from '../wal/segment.ts'
import type { LoopWrites } from './loop-writes.ts'
import { SegmentFile } from './segment-file.ts'
import { spoolError } from './spool-error.ts'
import { roundOf, type Synced } from './sync-round.ts'

export interface SyncerOptions {
  readonly folder: string
  readonly segmentBytes: number
  readonly loopWrites: LoopWrites
  /** How long each fdatasync took. */
  readonly onSync: (seconds: number) => void
  /** The stream is durable up to here, and these segments are whole. */
  readonly onSynced: (upTo: Lsn, wholes: readonly Segment[]) => void
  /** A round has ended, and files may be fewer. */
  readonly onRoundEnd: () => void
  readonly onFailed: (error: unknown, doing: string) => void
}

/** Files that may wait for their sync: more would only fill the page cache with what is not durable. */
const maxFiles = 8
/** So much is synced in the event loop where the disk is quick: a trip to the thread pool would cost as much again. */
const smallBytes = 32 * 1024

export class Syncer {
  readonly #options: SyncerOptions
  /** Files that the stream has written to and that are not whole and synced yet, oldest first. */
  readonly #files: SegmentFile[] = []
  #syncing: Promise<void> | null = null
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

  /** The round that is under way; null while there is none. It does not reject. */
  get underWay(): Promise<void> | null {
    return this.#syncing
  }

  /** Opens the file of the stream's next segment, to be written to; `known`: see SegmentFile. */
  open(segment: Segment, known: number): SegmentFile {
    const file = SegmentFile.open(this.#options.folder, segment, this.#options.segmentBytes, known)
    this.#files.push(file)
    return file
  }

  /** Whether a segment's file is open here. */
  has(segment: Segment): boolean {
    return this.#files.some((file) => isSameSegment(file.segment, segment))
  }

  /** Begins no more rounds. One that is under way goes on, and what it makes durable is synced. */
  giveUp(): void {
    this.#isGivenUp = true
  }

  /** Starts syncing what is written, unless that is under way. `isAll`: nothing more waits to be written. */
  sync(isAll: boolean): void {
    if (this.#syncing !== null || this.#isGivenUp) return
    if (!this.#hasNews()) return
    if (isAll && this.#syncNow()) return
    this.#options.loopWrites.roundBegins()
    this.#syncing = this.#round()
  }

  /** Closes all files, under the names that a later stream looks for. Nothing may be under way. Throws SPOOL_FAILED. */
  async close(): Promise<void> {
    for (let file = this.#files[0]; file !== undefined; file = this.#files[0]) {
      try {
        await file.becomePartial()
        this.#files.shift()
        await file.close()
      } catch (error) {
        throw spoolError(error, `close ${file.name}`)
      }
    }
  }

  #hasNews(): boolean {
    const last = this.#files.at(-1)
    return last !== undefined && this.#endOf(last) > this.#syncedUpTo
  }

  #endOf(file: SegmentFile, written = file.written): Lsn {
    return plus(segmentStart(file.segment.segno, this.#options.segmentBytes), written)
  }

  /** In the event loop, if nothing but a little data of one file is to be made durable; false if that is for a round. */
  #syncNow(): boolean {
    const [file, ...others] = this.#files
    if (file === undefined || others.length > 0 || file.isFull || file.nameIsNew) return false
    if (this.#endOf(file) > plus(this.#syncedUpTo, smallBytes)) return false
    try {
      if (!file.syncNow()) return false
    } catch (error) {
      this.#failed(error)
      return true
    }
    this.#synced([{ file, written: file.written, full: false }])
    this.#options.onSync(file.syncMs / 1000)
    return true
  }

  async #round(): Promise<void> {
    let failure: { readonly error: unknown } | null = null
    try {
      await this.#syncRound()
    } catch (error) {
      failure = { error }
    }
    this.#syncing = null
    this.#options.loopWrites.roundEnds()
    if (failure === null) this.#options.onRoundEnd()
    else this.#failed(failure.error)
  }

  async #syncRound(): Promise<void> {
    // What is written while this runs waits for the next round, so the state is taken once, here.
    const round = roundOf(this.#files, this.#options.segmentBytes)
    await this.#syncFiles(round)
    let namesAreNew = false
    for (const { file, full } of round) {
      // A crash right here leaves a whole segment under its partial name: it is received or recovered again.
      if (full) await file.becomeWhole()
      namesAreNew ||= full || file.nameIsNew
    }
    if (namesAreNew) await syncFolder(this.#options.folder)
    this.#synced(round)
    for (const { file, full } of round) if (full) await file.close()
  }

  /** All at once: the disk has something to do all the time. */
  async #syncFiles(round: readonly Synced<SegmentFile>[]): Promise<void> {
    const syncs = round.map(async ({ file }) => {
      await file.sync()
      this.#options.onSync(file.syncMs / 1000)
    })
    // Also where one has failed: a file that is closed while it is synced could be another one by then.
    await Promise.allSettled(syncs)
    await Promise.all(syncs)
  }

  #synced(round: readonly Synced<SegmentFile>[]): void {
    const last = round.at(-1)
    if (last === undefined) return
    const wholes: Segment[] = []
    for (const { file, full } of round) {
      file.nameIsNew = false
      if (!full) continue
      this.#files.shift()
      wholes.push(file.segment)
    }
    this.#syncedUpTo = this.#endOf(last.file, last.written)
    this.#options.onSynced(this.#syncedUpTo, wholes)
  }

  #failed(error: unknown): void {
    this.#options.onFailed(error, 'sync the spool')
  }
}
