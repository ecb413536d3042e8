/**
 * The messages inside a physical replication stream (documentation, section "Streaming Replication Protocol"):
 *
 *     w  int64 start, int64 server's flush position, int64 send time, WAL bytes     XLogData
 *     k  int64 server's position, int64 send time, byte reply requested             keepalive
 *     r  int64 written, int64 flushed, int64 applied, int64 time, byte reply wanted standby status update, ours
 *
 * Times are microseconds since 2000-01-01 UTC. The WAL bytes of a message are at most 128 KiB, arrive in fragments as
 * the socket gives them, and may cross a segment's boundary.
 */
import { WalferryError } from '../kit/errors.ts'
import { asLsn, type Lsn } from '../wal/lsn.ts'
import type { CopySink } from './framing.ts'

/** What a stream tells. Called in the order of the stream, synchronously; the bytes of `wal` are gone when it returns. */
export interface WalListener {
  /** An XLogData message begins: its bytes follow in `wal`. `sentAtMs` is the server's clock, since 1970. */
  walBegins(start: Lsn, serverFlush: Lsn, sentAtMs: number): void
  wal(bytes: Buffer): void
  keepalive(serverPosition: Lsn, sentAtMs: number, replyRequested: boolean): void
  /** All that had arrived was told. */
  batchEnd(): void
}

const walHeadBytes = 25
const keepaliveBytes = 18
const statusBytes = 34
const pgEpochMs = Date.UTC(2000, 0, 1)

export class StreamMessages implements CopySink {
  readonly #listener: WalListener
  /** A head that comes in pieces. */
  readonly #head = Buffer.alloc(walHeadBytes)
  #have = 0
  #type = 0

  constructor(listener: WalListener) {
    this.#listener = listener
  }

  copyData(fragment: Buffer, first: boolean, last: boolean): void {
    if (first) {
      this.#have = 0
      this.#type = fragment[0] ?? 0
    }
    let rest = fragment
    const wanted = this.#type === 0x6b ? keepaliveBytes : walHeadBytes
    if (this.#have < wanted) {
      const n = Math.min(wanted - this.#have, fragment.length)
      const isWhole = n === wanted
      if (!isWhole) fragment.copy(this.#head, this.#have, 0, n)
      this.#have += n
      rest = fragment.subarray(n)
      // Nearly every head lies whole in its first fragment, and is read there: a commit waits for it.
      if (this.#have === wanted) this.#tell(isWhole ? fragment : this.#head)
      else if (last) throw new WalferryError('PG_PROTOCOL', `a stream message ended after ${this.#have} bytes`)
    }
    if (this.#type === 0x77 && rest.length > 0) this.#listener.wal(rest)
  }

  batchEnd(): void {
    this.#listener.batchEnd()
  }

  #tell(head: Buffer): void {
    if (this.#type === 0x77) {
      this.#listener.walBegins(asLsn(head.readBigUInt64BE(1)), asLsn(head.readBigUInt64BE(9)), timeAt(head, 17))
    } else if (this.#type === 0x6b) {
      this.#listener.keepalive(asLsn(head.readBigUInt64BE(1)), timeAt(head, 9), head[17] === 1)
    } else {
      throw new WalferryError('PG_PROTOCOL', `the stream has a message of unknown type 0x${this.#type.toString(16)}`)
    }
  }
}

function timeAt(head: Buffer, at: number): number {
  const microseconds = head.readInt32BE(at) * 2 ** 32 + head.readUInt32BE(at + 4)
  return pgEpochMs + microseconds / 1000
}

/** The positions that we report. Applied stays 0: nothing is ever applied here. */
export interface StandbyStatus {
  readonly written: Lsn
  /** Durable here; 0 reports nothing and leaves the slot where it is. */
  readonly flushed: Lsn
  /** Asks the server to answer at once, which shows that it is alive. */
  readonly wantReply: boolean
}

/** Writes a standby status update. `nowMs` is our clock, since 1970. */
export function encodeStatus(status: StandbyStatus, nowMs: number): Buffer {
  // Every byte is written: memory that is zeroed first is not taken from Node.js's pool, and costs more than all the rest.
  const out = Buffer.allocUnsafe(statusBytes)
  const microseconds = Math.round((nowMs - pgEpochMs) * 1000)
  out[0] = 0x72
  out.writeBigUInt64BE(status.written, 1)
  out.writeBigUInt64BE(status.flushed, 9)
  out.fill(0, 17, 25)
  out.writeInt32BE(Math.floor(microseconds / 2 ** 32), 25)
  out.writeUInt32BE(microseconds >>> 0, 29)
  out[33] = status.wantReply ? 1 : 0
  return out
}
