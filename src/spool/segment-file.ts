/**
 * One segment in the spool.
 *
 *     00000001000000000000002A.partial   is being written: 0 bytes, or the full segment size with zeros behind its end
 *     00000001000000000000002A           is whole and synced
 *
 * pg_receivewal's format: either program goes on where the other stopped. How far a `.partial` is filled is written
 * nowhere (see recover.ts). The file is sized with ftruncate, which leaves it sparse: filling it with zeros first, as
 * pg_receivewal does, writes every segment twice.
 */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
  writev,
} from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { type Segment, segmentName } from '../wal/segment.ts'

const writevAsync = promisify(writev)
const fdatasyncAsync = promisify(fdatasync)
const closeAsync = promisify(close)

export const partialSuffix = '.partial'

/** On a disk whose syncs take longer than this, the event loop has better things to do than to wait. */
const quickMs = 1

export class SegmentFile {
  readonly segment: Segment
  readonly name: string
  /** Bytes at the beginning that the file already holds: what is streamed over them must be equal. */
  readonly known: number
  /** Bytes that this stream has written, from the segment's beginning. */
  written = 0
  /** True until a sync of the folder has made the file's name durable. */
  nameIsNew: boolean
  readonly #folder: string
  readonly #fd: number
  readonly #segmentBytes: number
  #isWhole = false
  #syncMs = Infinity

  private constructor(folder: string, segment: Segment, segmentBytes: number, known: number, fd: number) {
    this.#folder = folder
    this.segment = segment
    this.name = segmentName(segment, segmentBytes)
    this.#segmentBytes = segmentBytes
    this.known = known
    this.#fd = fd
    // Also for a file that was there before: its name may never have been synced.
    this.nameIsNew = true
  }

  /** Opens or creates `<name>.partial` at its full size. Two quick system calls, in the event loop. */
  static open(folder: string, segment: Segment, segmentBytes: number, known: number): SegmentFile {
    const path = join(folder, segmentName(segment, segmentBytes) + partialSuffix)
    // Not O_TRUNC: what is there stays. Where bytes are known, a missing or shorter file must not pass for zeros.
    if (known === segmentBytes) takeNameBack(folder, segment, segmentBytes)
    const fd = openSync(path, constants.O_RDWR | (known === 0 ? constants.O_CREAT : 0), 0o600)
    try {
      if (known === 0) ftruncateSync(fd, segmentBytes)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return new SegmentFile(folder, segment, segmentBytes, known, fd)
  }

  get isFull(): boolean {
    return this.written === this.#segmentBytes
  }

  /** Writes at the end of what is written, in the event loop: see LoopWrites. */
  writeNow(part: Buffer): void {
    this.#compare(part, this.written)
    for (let done = 0; done < part.length; ) {
      done += writeSync(this.#fd, part, done, part.length - done, this.written + done)
    }
    this.written += part.length
  }

  /** Writes at the end of what is written, in the thread pool. */
  async write(parts: readonly Buffer[]): Promise<void> {
    let at = this.written
    for (const part of parts) {
      this.#compare(part, at)
      at += part.length
    }
    let rest = [...parts]
    while (rest.length > 0) {
      const { bytesWritten } = await writevAsync(this.#fd, rest, this.written)
      this.written += bytesWritten
      rest = without(rest, bytesWritten)
    }
  }

  /** Makes what is written durable. The file's size never changes, so its data is all that a crash could lose. */
  async sync(): Promise<void> {
    const startedMs = performance.now()
    await fdatasyncAsync(this.#fd)
    this.#syncMs = performance.now() - startedMs
  }

  /**
   * The same in the event loop, for a few kilobytes; false, and nothing is done, unless the last sync was quick: the thread
   * pool's two wake-ups would cost as much again, and commits wait. A disk that begins to hang holds us up once.
   */
  syncNow(): boolean {
    if (this.#syncMs >= quickMs) return false
    const startedMs = performance.now()
    fdatasyncSync(this.#fd)
    this.#syncMs = performance.now() - startedMs
    return true
  }

  /** How long the last sync took. */
  get syncMs(): number {
    return this.#syncMs
  }

  /** Gives the file its final name. The caller has synced it, and syncs the folder afterwards. */
  async becomeWhole(): Promise<void> {
    await rename(join(this.#folder, this.name + partialSuffix), join(this.#folder, this.name))
    this.#isWhole = true
  }

  /** Takes the final name back where it was given and nothing came of it: a later stream must find the file. */
  async becomePartial(): Promise<void> {
    if (!this.#isWhole) return
    await rename(join(this.#folder, this.name), join(this.#folder, this.name + partialSuffix))
    this.#isWhole = false
  }

  async close(): Promise<void> {
    await closeAsync(this.#fd)
  }

  /**
   * Streamed bytes over known ones must be equal: a server that went back to a snapshot sends another history under
   * the same positions. Equal bytes are written again all the same: a page that a failed fsync left clean in the page
   * cache is dirty again then, and the next fsync speaks the truth.
   */
  #compare(part: Buffer, at: number): void {
    const overlap = Math.min(part.length, this.known - at)
    if (overlap <= 0) return
    const here = Buffer.allocUnsafe(overlap)
    let have = 0
    while (have < overlap) {
      const n = readSync(this.#fd, here, have, overlap - have, at + have)
      if (n === 0)
        throw new WalferryError('SPOOL_FAILED', `${this.name}${partialSuffix} became shorter while it was read`)
      have += n
    }
    if (here.compare(part, 0, overlap) === 0) return
    const first = here.findIndex((byte, i) => byte !== part[i])
    throw new WalferryError(
      'SPOOL_CONFLICT',
      `the server streams other bytes than ${this.name}${partialSuffix} holds, first at byte ${at + first} of the segment`,
      {
        fields: { segment: this.name, offset: at + first, known: this.known },
        hint:
          'The server may have been restored from an older state under the same identity. Nothing was overwritten, here ' +
          'or on the server. Decide which history counts; to follow the server, start with a new spool and a new archive.',
      },
    )
  }
}

/**
 * A whole segment that is streamed over once more becomes the open one again, to be compared. A crash leaves it full
 * under its partial name, and a start finds it whole.
 */
function takeNameBack(folder: string, segment: Segment, segmentBytes: number): void {
  const path = join(folder, segmentName(segment, segmentBytes))
  try {
    renameSync(path, path + partialSuffix)
  } catch (error) {
    // An earlier stream has done it, and ended before the segment's end.
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

/** `parts` without their first `bytes` bytes. */
function without(parts: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes
  for (const [i, part] of parts.entries()) {
    if (left < part.length) return [part.subarray(left), ...parts.slice(i + 1)]
    left -= part.length
  }
  return []
}
