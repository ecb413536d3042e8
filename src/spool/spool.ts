/**
 * Segments on the local disk: takes WAL bytes from a stream, writes them, makes them durable, and keeps whole segments
 * until they are removed.
 *
 * Each stream has two of its own that run beside it: the *writer* (writer.ts) hands what has gathered to the operating
 * system, and the *syncer* (syncer.ts) makes durable what is written.
 *
 * What a crash leaves: bytes before `synced` are on the disk. Behind it, `.partial` files with any part of what was
 * written; nothing of that was reported to anybody as durable. recover.ts finds the end.
 */
import { type FileHandle, open as openFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode, type WalferryError } from '../kit/errors.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { bytesBetween, type Lsn, lsnZero } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { offsetIn, type Segment, segmentName, segnoOf } from '../wal/segment.ts'
import { markBegin } from './begin-mark.ts'
import { Blocks } from './blocks.ts'
import { type Histories, mustBeSameHistory, writeHistory } from './histories.ts'
import { Inventory, type SpoolSegment } from './inventory.ts'
import type { Positions } from './positions.ts'
import type { SpoolScan } from './recover.ts'
import { LoopWrites } from './loop-writes.ts'
import { partialSuffix } from './segment-file.ts'
import { spoolError } from './spool-error.ts'
import { Syncer } from './syncer.ts'
import { Writer } from './writer.ts'

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

/** One stream, until the next one begins. */
interface Stream {
  readonly timeline: number
  readonly listener: SpoolListener
  readonly writer: Writer
  readonly syncer: Syncer
  failure: WalferryError | null
}

export class Spool {
  readonly segmentBytes: number
  readonly #folder: string
  readonly #positions: Positions
  readonly #onSync: (seconds: number) => void
  readonly #onSynced: (bytes: number) => void
  readonly #inventory: Inventory
  readonly #blocks = new Blocks()
  readonly #loopWrites = new LoopWrites()
  #stream: Stream | null = null

  /** @param scan what recover.ts found and made durable in the folder. */
  constructor(options: SpoolOptions, scan: SpoolScan) {
    this.segmentBytes = options.segmentBytes
    this.#folder = options.folder
    this.#positions = options.positions
    this.#onSync = options.onSync ?? (() => undefined)
    this.#onSynced = options.onSynced ?? (() => undefined)
    this.#inventory = new Inventory(scan, options.segmentBytes)
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
    return this.#stream?.writer.isFull ?? false
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
    await this.close()
    const first = { timeline, segno: segnoOf(start, this.segmentBytes) }
    try {
      await markBegin(this.#folder, first, this.segmentBytes)
    } catch (error) {
      throw spoolError(error, `mark in ${this.#folder} where a stream begins`)
    }
    this.#inventory.beginStream({ timeline, lsn: start })
    this.#stream = this.#streamOf(first, listener)
  }

  #streamOf(first: Segment, listener: SpoolListener): Stream {
    const { segmentBytes } = this
    const onFailed = (error: unknown, doing: string): void => this.#fail(stream, error, doing)
    const syncer = new Syncer(
      {
        folder: this.#folder,
        segmentBytes,
        onSync: this.#onSync,
        onSynced: (upTo, wholes) => this.#synced(stream, upTo, wholes),
        onEnded: () => this.#goOn(stream),
        onFailed,
      },
      first,
    )
    const writer = new Writer(
      {
        segmentBytes,
        blocks: this.#blocks,
        mayWrite: () => !syncer.isFull,
        loopWrites: this.#loopWrites,
        syncingSinceMs: () => syncer.underWaySinceMs,
        open: (segment) => syncer.open(segment, this.#inventory.knownBytes(segment)),
        onWritten: () => this.#written(stream),
        onRoom: () => listener.hasRoom(),
        onFailed,
      },
      first,
    )
    const stream: Stream = { timeline: first.timeline, listener, writer, syncer, failure: null }
    return stream
  }

  /** How far the current stream is durable, compared with what was here before. */
  get syncedUpTo(): Lsn {
    return this.#stream?.syncer.syncedUpTo ?? lsnZero
  }

  /** How far the current stream is written. */
  get writtenUpTo(): Lsn {
    return this.#stream?.writer.writtenUpTo ?? lsnZero
  }

  /** Where the next byte belongs. */
  get receivedUpTo(): Lsn {
    return this.#stream?.writer.receivedUpTo ?? lsnZero
  }

  /** Takes a copy of the next bytes of the stream. Costs no promise and no memory that is not used again. */
  append(bytes: Buffer): void {
    if (this.#stream === null) throw new Error('append before beginStream')
    this.#stream.writer.append(bytes)
  }

  /** Starts writing what was appended, unless that is under way. */
  batchEnd(): void {
    const stream = this.#stream
    if (stream === null || stream.failure !== null) return
    this.#positions.noteReceived(stream.writer.receivedUpTo)
    stream.writer.write()
  }

  /** Resolves once everything appended is durable, or was given up after a failure. */
  async settle(): Promise<void> {
    const stream = this.#stream
    if (stream === null) return
    stream.writer.write()
    for (let one = underWay(stream); one !== null; one = underWay(stream)) await one
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
    if (this.#stream?.syncer.has(segment) === true) return
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
    // Its files are closed next, and their numbers are others' by then.
    this.#stream?.writer.giveUp()
    await this.#stream?.syncer.close()
  }

  #written(stream: Stream): void {
    // Also what came after the batch that is being written: it may be written along with it.
    this.#positions.noteReceived(stream.writer.writtenUpTo)
    this.#positions.noteWritten(stream.writer.writtenUpTo)
    stream.syncer.sync(stream.writer.hasAll)
    // In a backlog the next write follows at once, and a report for each would only cost.
    if (stream.writer.hasAll) stream.listener.progress()
  }

  #synced(stream: Stream, upTo: Lsn, wholes: readonly Segment[]): void {
    for (const segment of wholes) this.#inventory.addWhole(segment)
    this.#inventory.moveEnd({ timeline: stream.timeline, lsn: upTo })
    // A stream begins with bytes of its segment that were durable before.
    const before = this.#positions.synced
    this.#positions.noteSynced(upTo)
    const after = this.#positions.synced
    // The writer failed while that was under way: what it had received is still given up.
    if (stream.failure !== null) this.#positions.dropUnsynced()
    stream.listener.progress()
    // Only now: a commit waits for the reply.
    this.#onSynced(bytesBetween(before, after))
  }

  #goOn({ writer, syncer }: Stream): void {
    syncer.sync(writer.hasAll)
    writer.write()
  }

  #fail(stream: Stream, error: unknown, doing: string): void {
    if (stream.failure !== null) return
    const failure = spoolError(error, doing)
    stream.failure = failure
    stream.writer.giveUp()
    stream.syncer.giveUp()
    this.#positions.dropUnsynced()
    stream.listener.failed(failure)
  }
}

function underWay({ writer, syncer }: Stream): Promise<void> | null {
  return writer.underWay ?? syncer.underWay
}
