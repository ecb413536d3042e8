/**
 * Segments on the local disk: takes WAL bytes from a stream, writes them, makes them durable, and keeps whole segments
 * until they are removed.
 *
 * Two things run beside the stream, one at a time each:
 * - the *writer* hands what has gathered to the operating system, in the event loop for as long as that does not wait for
 *   the disk;
 * - the *syncer* makes durable what is written, in rounds: fdatasync of every file that has news, all at once, the final
 *   names of whole ones, one fsync of the folder where a name is new, and only then moves `synced`. It starts as soon as
 *   there is something to sync, so commits that wait for us are grouped by the disk's own pace and never by a timer.
 *
 * What a crash leaves: bytes before `synced` are on the disk. Behind it, `.partial` files with any part of what was
 * written; nothing of that was reported to anybody as durable. recover.ts finds the end.
 */
import { type FileHandle, open as openFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../kit/durable-fs.ts'
import { systemCode, type WalferryError } from '../kit/errors.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { bytesBetween, type Lsn, lsnZero, plus } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { isSameSegment, offsetIn, type Segment, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import { markBegin } from './begin-mark.ts'
import { type Block, Blocks } from './blocks.ts'
import { type Histories, mustBeSameHistory, writeHistory } from './histories.ts'
import { Inventory, type SpoolSegment } from './inventory.ts'
import type { Positions } from './positions.ts'
import type { SpoolScan } from './recover.ts'
import { LoopWrites } from './loop-writes.ts'
import { partialSuffix, SegmentFile } from './segment-file.ts'
import { spoolError } from './spool-error.ts'
import { roundOf, type Synced } from './sync-round.ts'

export interface SpoolOptions {
  readonly folder: string
  readonly segmentBytes: number
  readonly positions: Positions
  /** How long each fdatasync took. */
  readonly onSync?: (seconds: number) => void
  /** How many bytes became durable that were not before. */
  readonly onSynced?: (bytes: number) => void
}

/** Who feeds the spool hears of it. */
export interface SpoolListener {
  /** More is written or synced than before. */
  progress(): void
  /** The spool has room again after `append` had said that it is full. */
  hasRoom(): void
  /** Writing or syncing failed. What was not synced is given up; the spool can be fed again after `beginStream`. */
  failed(error: WalferryError): void
}

/** A segment that is being received, with what is not written yet. */
interface Receiving {
  readonly segment: Segment
  file: SegmentFile | null
  blocks: Block[]
  bytes: number
}

/** Above this much unwritten, the stream is paused; below the other it goes on. */
const fullBytes = 8 * 1024 * 1024
const roomBytes = 2 * 1024 * 1024
/** So much is written in the event loop, whatever the disk does: faster than a trip to the thread pool, and commits wait. */
const smallBytes = 32 * 1024
/** Files that may wait for their sync: more would only fill the page cache with what is not durable. */
const maxUnsyncedFiles = 8

export class Spool {
  readonly segmentBytes: number
  readonly #folder: string
  readonly #positions: Positions
  readonly #onSync: (seconds: number) => void
  readonly #onSynced: (bytes: number) => void
  readonly #inventory: Inventory
  #listener: SpoolListener | null = null

  #timeline = 0
  #queue: Receiving[] = []
  readonly #blocks = new Blocks()
  readonly #loopWrites = new LoopWrites()
  #unwrittenBytes = 0
  #full = false
  #receivedUpTo: Lsn
  #writtenUpTo: Lsn = lsnZero
  #writing: Promise<void> | null = null
  /** Files that this stream has written to and that are not whole and synced yet, oldest first. */
  #files: SegmentFile[] = []
  #syncing: Promise<void> | null = null
  /** How far this stream is durable; behind `end` while it passes over what was there before. */
  #syncedUpTo: Lsn = lsnZero
  #failure: WalferryError | null = null

  /** @param scan what recover.ts found and made durable in the folder. */
  constructor(options: SpoolOptions, scan: SpoolScan) {
    this.segmentBytes = options.segmentBytes
    this.#folder = options.folder
    this.#positions = options.positions
    this.#onSync = options.onSync ?? (() => undefined)
    this.#onSynced = options.onSynced ?? (() => undefined)
    this.#inventory = new Inventory(scan, options.segmentBytes)
    this.#receivedUpTo = options.positions.received
  }

  /** The furthest place that is durable here, or null for an empty spool. */
  get end(): Place | null {
    return this.#inventory.end
  }

  /** The same, but for what could not be verified at the start: that is neither shipped nor compared. */
  get provedEnd(): Place | null {
    return this.#inventory.provedEnd
  }

  /** The history files that are kept here, by timeline. */
  get histories(): Histories {
    return this.#inventory.histories
  }

  /** Keeps a history file, durably. Throws SPOOL_CONFLICT if another one is here, ARCHIVE_DAMAGED if it is none. */
  async keepHistory(timeline: number, content: Uint8Array): Promise<TimelineHistory> {
    const here = this.histories.get(timeline)
    if (here !== undefined) {
      mustBeSameHistory(this.#folder, timeline, here.content, content)
      return here.history
    }
    const kept = await writeHistory(this.#folder, timeline, content)
    this.#inventory.keepHistory(timeline, kept)
    this.#positions.bell.ring()
    return kept.history
  }

  /**
   * How far a timeline's WAL belongs to the line that is being received: up to a position, all of it ('all'), or not at
   * all (null): then another line has it, one that was left.
   */
  onLine(timeline: number): Lsn | 'all' | null {
    return this.#inventory.onLine(timeline)
  }

  /** True while `append` asks for a pause. */
  get isFull(): boolean {
    return this.#full
  }

  /** Segments that lie here, by timeline and position. */
  segments(): SpoolSegment[] {
    return this.#inventory.segments()
  }

  /**
   * Begins to take WAL at a segment's start. Bytes up to `end`, where that lies in this segment and is proved, are
   * compared with what comes; what is not proved is received again. Where `start` is not in the segment of `end`, that
   * one is left once the first bytes of the new stream are durable. Waits until what an earlier stream left has been
   * settled.
   */
  async beginStream(timeline: number, start: Lsn, listener: SpoolListener): Promise<void> {
    if (offsetIn(start, this.segmentBytes) !== 0) throw new RangeError('a stream begins at a segment start')
    await this.settle()
    await this.#closeFiles()
    const segment = { timeline, segno: segnoOf(start, this.segmentBytes) }
    try {
      await markBegin(this.#folder, segment, this.segmentBytes)
    } catch (error) {
      throw spoolError(error, `mark in ${this.#folder} where a stream begins`)
    }
    this.#failure = null
    this.#listener = listener
    this.#timeline = timeline
    this.#inventory.beginStream({ timeline, lsn: start })
    this.#receivedUpTo = start
    this.#writtenUpTo = start
    this.#syncedUpTo = start
    this.#full = false
    this.#queue = [receiving(segment)]
    this.#unwrittenBytes = 0
  }

  /** How far the current stream is durable, compared with what was here before. */
  get syncedUpTo(): Lsn {
    return this.#syncedUpTo
  }

  /** How far the current stream is written. */
  get writtenUpTo(): Lsn {
    return this.#writtenUpTo
  }

  /** Where the next byte belongs. */
  get receivedUpTo(): Lsn {
    return this.#receivedUpTo
  }

  /** Takes a copy of the next bytes of the stream. Costs no promise and no memory that is not used again. */
  append(bytes: Buffer): void {
    if (this.#failure !== null) return
    let rest = bytes
    while (rest.length > 0) {
      const last = this.#queue.at(-1)
      if (last === undefined) throw new Error('append before beginStream')
      const room = this.segmentBytes - offsetIn(this.#receivedUpTo, this.segmentBytes)
      const part = rest.length <= room ? rest : rest.subarray(0, room)
      this.#gather(part, last.blocks)
      last.bytes += part.length
      this.#unwrittenBytes += part.length
      this.#receivedUpTo = plus(this.#receivedUpTo, part.length)
      if (part.length === room) {
        this.#queue.push(receiving({ timeline: this.#timeline, segno: last.segment.segno + 1 }))
      }
      rest = rest.subarray(part.length)
    }
    if (this.#unwrittenBytes >= fullBytes) this.#full = true
  }

  #gather(bytes: Buffer, into: Block[]): void {
    for (let rest = bytes; rest.length > 0; ) {
      let block = into.at(-1)
      if (block === undefined || block.isFull) {
        block = this.#blocks.take()
        into.push(block)
      }
      rest = rest.subarray(block.fill(rest))
    }
  }

  /** Starts writing what was appended, unless that is under way. */
  batchEnd(): void {
    if (this.#failure !== null) return
    this.#positions.noteReceived(this.#receivedUpTo)
    this.#write()
  }

  /** Resolves once everything appended is durable, or was given up after a failure. */
  async settle(): Promise<void> {
    this.#write()
    while (this.#writing !== null || this.#syncing !== null) {
      await (this.#writing ?? this.#syncing)
    }
  }

  /** Opens a segment for reading, whichever of its two names it has by now. */
  async openForRead(segment: Segment): Promise<FileHandle> {
    const path = join(this.#folder, segmentName(segment, this.segmentBytes))
    // The final name first: a partial one beside it is an older copy. And once more, because it may just get it.
    for (const name of [path, path + partialSuffix]) {
      try {
        return await openFile(name, 'r')
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw spoolError(error, `open ${name}`)
      }
    }
    try {
      return await openFile(path, 'r')
    } catch (error) {
      throw spoolError(error, `open ${path}`)
    }
  }

  /**
   * Removes a whole or left segment that is durable elsewhere. Not synced: if a crash undoes it, the segment is compared
   * with the archive's once more and removed again. One that is streamed over just now stays.
   */
  async remove(segment: Segment): Promise<void> {
    // A stream that goes over it once more has its file open.
    if (this.#files.some((file) => isSameSegment(file.segment, segment))) return
    const path = join(this.#folder, this.#inventory.fileOf(segment))
    try {
      await unlink(path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw spoolError(error, `remove ${path}`)
    }
    this.#inventory.remove(segment)
  }

  /** Bytes that the spool's files take, as far as they are filled. */
  bytes(): number {
    return this.segments().reduce((sum, one) => sum + one.syncedBytes, 0)
  }

  /** Settles and releases the files. The spool can be opened again by anybody. */
  async close(): Promise<void> {
    await this.settle()
    await this.#closeFiles()
  }

  // The writer.

  #write(): void {
    while (this.#writing === null && this.#failure === null) {
      const head = this.#queue[0]
      if (head === undefined || head.bytes === 0 || this.#files.length >= maxUnsyncedFiles) return
      try {
        const file = this.#fileOf(head)
        const { blocks, bytes } = head
        if (bytes <= smallBytes || this.#loopWrites.areQuick) this.#writeNow(head, file)
        else {
          head.blocks = []
          head.bytes = 0
          this.#writing = file.write(blocks.map((block) => block.bytes)).then(
            () => {
              this.#writing = null
              this.#blocks.giveBack(blocks)
              // After a failure of the syncer it was given up while it was being written.
              if (this.#failure !== null) return
              this.#wrote(file, bytes)
              this.#write()
            },
            (error: unknown) => {
              this.#writing = null
              this.#fail(error, `write ${file.name}${partialSuffix}`)
            },
          )
        }
      } catch (error) {
        this.#fail(error, `write ${segmentName(head.segment, this.segmentBytes)}${partialSuffix}`)
      }
    }
  }

  /** Stops behind a block for which the disk made us wait. */
  #writeNow(head: Receiving, file: SegmentFile): void {
    const from = file.written
    let count = 0
    for (const block of head.blocks) {
      count++
      if (!this.#loopWrites.tried(() => file.writeNow(block.bytes))) break
    }
    this.#blocks.giveBack(head.blocks.splice(0, count))
    head.bytes -= file.written - from
    this.#wrote(file, file.written - from)
  }

  #fileOf(head: Receiving): SegmentFile {
    if (head.file !== null) return head.file
    head.file = SegmentFile.open(
      this.#folder,
      head.segment,
      this.segmentBytes,
      this.#inventory.knownBytes(head.segment),
    )
    this.#files.push(head.file)
    return head.file
  }

  #wrote(file: SegmentFile, bytes: number): void {
    this.#unwrittenBytes -= bytes
    if (file.isFull) this.#queue.shift()
    this.#writtenUpTo = plus(segmentStart(file.segment.segno, this.segmentBytes), file.written)
    // Also what came after the batch that is being written: it may be written along with it.
    this.#positions.noteReceived(this.#writtenUpTo)
    this.#positions.noteWritten(this.#writtenUpTo)
    this.#sync()
    // In a backlog the next write follows at once, and a report for each would only cost.
    if (this.#unwrittenBytes === 0) this.#listener?.progress()
    if (this.#full && this.#unwrittenBytes <= roomBytes) {
      this.#full = false
      this.#listener?.hasRoom()
    }
  }

  // The syncer.

  #sync(): void {
    if (this.#syncing !== null || this.#failure !== null) return
    if (!this.#hasNews()) return
    if (this.#syncNow()) return
    this.#loopWrites.roundBegins()
    this.#syncing = this.#syncRound().then(
      () => {
        this.#roundEnded()
        this.#sync()
        this.#write()
      },
      (error: unknown) => {
        this.#roundEnded()
        this.#fail(error, 'sync the spool')
      },
    )
  }

  #roundEnded(): void {
    this.#syncing = null
    this.#loopWrites.roundEnds()
  }

  #hasNews(): boolean {
    const last = this.#files.at(-1)
    if (last === undefined) return false
    const upTo = plus(segmentStart(last.segment.segno, this.segmentBytes), last.written)
    return upTo > this.#syncedUpTo
  }

  /** In the event loop, if nothing but a little data of one file is to be made durable; false if that is for a round. */
  #syncNow(): boolean {
    const [file, ...others] = this.#files
    if (file === undefined || others.length > 0 || file.isFull || file.nameIsNew || this.#unwrittenBytes > 0)
      return false
    const upTo = plus(segmentStart(file.segment.segno, this.segmentBytes), file.written)
    if (bytesBetween(this.#syncedUpTo, upTo) > smallBytes) return false
    try {
      if (!file.syncNow()) return false
    } catch (error) {
      this.#fail(error, 'sync the spool')
      return true
    }
    this.#synced([{ file, written: file.written, full: false }])
    this.#onSync(file.syncMs / 1000)
    return true
  }

  async #syncRound(): Promise<void> {
    // What is written while this runs waits for the next round, so the state is taken once, here.
    const round = roundOf(this.#files, this.segmentBytes)
    await this.#syncFiles(round)
    let namesAreNew = false
    for (const { file, full } of round) {
      // A crash right here leaves a whole segment under its partial name: it is received or recovered again.
      if (full) await file.becomeWhole()
      namesAreNew ||= full || file.nameIsNew
    }
    if (namesAreNew) await syncFolder(this.#folder)
    this.#synced(round)
    for (const { file, full } of round) if (full) await file.close()
  }

  /** All at once: the disk has something to do all the time. */
  async #syncFiles(round: readonly Synced<SegmentFile>[]): Promise<void> {
    const syncs = round.map(async ({ file }) => {
      await file.sync()
      this.#onSync(file.syncMs / 1000)
    })
    // Also where one has failed: a file that is closed while it is synced could be another one by then.
    await Promise.allSettled(syncs)
    await Promise.all(syncs)
  }

  #synced(round: readonly Synced<SegmentFile>[]): void {
    for (const { file, full } of round) {
      file.nameIsNew = false
      if (!full) continue
      this.#files.shift()
      this.#inventory.addWhole(file.segment)
    }
    const last = round.at(-1)
    if (last === undefined) return
    const lsn = plus(segmentStart(last.file.segment.segno, this.segmentBytes), last.written)
    this.#syncedUpTo = lsn
    this.#inventory.moveEnd({ timeline: last.file.segment.timeline, lsn })
    // A stream begins with bytes of its segment that were durable before.
    const before = this.#positions.synced
    this.#positions.noteSynced(lsn)
    const after = this.#positions.synced
    // The writer failed while this round was under way: what it had received is still given up.
    if (this.#failure !== null) this.#positions.dropUnsynced()
    this.#listener?.progress()
    // Only now: a commit waits for the reply.
    this.#onSynced(bytesBetween(before, after))
  }

  #fail(error: unknown, doing: string): void {
    if (this.#failure !== null) return
    const failure = spoolError(error, doing)
    this.#failure = failure
    this.#queue = []
    this.#unwrittenBytes = 0
    this.#positions.dropUnsynced()
    this.#listener?.failed(failure)
  }

  async #closeFiles(): Promise<void> {
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
}

function receiving(segment: Segment): Receiving {
  return { segment, file: null, blocks: [], bytes: 0 }
}
