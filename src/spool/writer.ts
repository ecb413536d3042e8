/**
 * Gathers the bytes of one stream and hands them to the operating system: in the event loop for as long as that does not
 * wait for the disk (loop-writes.ts), else in the thread pool, one write at a time.
 */
import { type Lsn, plus } from '../wal/lsn.ts'
import { offsetIn, type Segment, segmentName, segmentStart } from '../wal/segment.ts'
import type { Block, Blocks } from './blocks.ts'
import type { LoopWrites } from './loop-writes.ts'
import { partialSuffix, type SegmentFile } from './segment-file.ts'

export interface WriterOptions {
  readonly segmentBytes: number
  readonly blocks: Blocks
  readonly loopWrites: LoopWrites
  /** Since when the oldest sync is under way; null: there is none. */
  readonly syncingSinceMs: () => number | null
  /** Asked before each write. Where the answer is no, `write` is called again when that may have changed. */
  readonly mayWrite: () => boolean
  /** Asked once for each segment, with its first bytes. */
  readonly open: (segment: Segment) => SegmentFile
  /** More is written than before. */
  readonly onWritten: () => void
  /** There is room again after `append` had filled it. */
  readonly onRoom: () => void
  readonly onFailed: (error: unknown, doing: string) => void
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

export class Writer {
  readonly #options: WriterOptions
  readonly #timeline: number
  #queue: Receiving[]
  #unwrittenBytes = 0
  #isFull = false
  #isGivenUp = false
  #receivedUpTo: Lsn
  #writtenUpTo: Lsn
  #writing: Promise<void> | null = null

  /** @param first the segment that the stream begins with, at its start. */
  constructor(options: WriterOptions, first: Segment) {
    this.#options = options
    this.#timeline = first.timeline
    this.#queue = [receiving(first)]
    this.#receivedUpTo = segmentStart(first.segno, options.segmentBytes)
    this.#writtenUpTo = this.#receivedUpTo
  }

  /** Where the next byte belongs. */
  get receivedUpTo(): Lsn {
    return this.#receivedUpTo
  }

  get writtenUpTo(): Lsn {
    return this.#writtenUpTo
  }

  /** True while `append` asks for a pause. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** Nothing waits to be written. */
  get hasAll(): boolean {
    return this.#unwrittenBytes === 0
  }

  /** The write in the thread pool; null while there is none. It does not reject. */
  get underWay(): Promise<void> | null {
    return this.#writing
  }

  /** Takes a copy of the next bytes of the stream. Costs no promise and no memory that is not used again. */
  append(bytes: Buffer): void {
    if (this.#isGivenUp) return
    const { segmentBytes } = this.#options
    let rest = bytes
    while (rest.length > 0) {
      const last = this.#queue.at(-1)
      if (last === undefined) throw new Error('a stream has a segment that its next byte belongs to')
      const room = segmentBytes - offsetIn(this.#receivedUpTo, segmentBytes)
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
    if (this.#unwrittenBytes >= fullBytes) this.#isFull = true
  }

  #gather(bytes: Buffer, into: Block[]): void {
    for (let rest = bytes; rest.length > 0; ) {
      let block = into.at(-1)
      if (block === undefined || block.isFull) {
        block = this.#options.blocks.take()
        into.push(block)
      }
      rest = rest.subarray(block.fill(rest))
    }
  }

  /** Starts writing what was appended, unless that is under way. */
  write(): void {
    while (this.#writing === null) {
      const head = this.#queue[0]
      if (head === undefined || head.bytes === 0 || !this.#options.mayWrite()) return
      try {
        head.file ??= this.#options.open(head.segment)
        if (head.bytes <= smallBytes || this.#areQuick) this.#writeNow(head, head.file)
        else this.#writing = this.#writeInPool(head, head.file)
      } catch (error) {
        this.#failed(error, head.segment)
      }
    }
  }

  get #areQuick(): boolean {
    return this.#options.loopWrites.areQuick(this.#options.syncingSinceMs())
  }

  /** Nothing more is taken or written, but for a write that is under way, which counts for nothing. */
  giveUp(): void {
    this.#isGivenUp = true
    this.#queue = []
    this.#unwrittenBytes = 0
  }

  /** Stops behind a block for which the disk made us wait. */
  #writeNow(head: Receiving, file: SegmentFile): void {
    const from = file.written
    let count = 0
    for (const block of head.blocks) {
      count++
      if (!this.#options.loopWrites.tried(() => file.writeNow(block.bytes))) break
    }
    this.#options.blocks.giveBack(head.blocks.splice(0, count))
    head.bytes -= file.written - from
    this.#wrote(file, file.written - from)
  }

  async #writeInPool(head: Receiving, file: SegmentFile): Promise<void> {
    const { blocks, bytes } = head
    head.blocks = []
    head.bytes = 0
    try {
      await file.write(blocks.map((block) => block.bytes))
    } catch (error) {
      this.#writing = null
      this.#failed(error, file.segment)
      return
    }
    this.#writing = null
    this.#options.blocks.giveBack(blocks)
    if (this.#isGivenUp) return
    this.#wrote(file, bytes)
    this.write()
  }

  #wrote(file: SegmentFile, bytes: number): void {
    this.#unwrittenBytes -= bytes
    if (file.isFull) this.#queue.shift()
    this.#writtenUpTo = plus(segmentStart(file.segment.segno, this.#options.segmentBytes), file.written)
    this.#options.onWritten()
    if (this.#isFull && this.#unwrittenBytes <= roomBytes) {
      this.#isFull = false
      this.#options.onRoom()
    }
  }

  #failed(error: unknown, segment: Segment): void {
    this.#options.onFailed(error, `write ${segmentName(segment, this.#options.segmentBytes)}${partialSuffix}`)
  }
}

function receiving(segment: Segment): Receiving {
  return { segment, file: null, blocks: [], bytes: 0 }
}
