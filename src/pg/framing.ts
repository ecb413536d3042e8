/**
 * Cuts the server's bytes into protocol messages, and hands the payload of CopyData on in fragments, without copying.
 *
 * A message is one byte of type and a big-endian int32 length that counts itself, then the body (documentation,
 * section "Message Formats"). Example, a CopyData message of two payload bytes: 64 00 00 00 06 AA BB.
 *
 * Why not pg-protocol's parser for CopyData: it collects a whole message in a buffer that it overwrites later, which
 * costs a copy and forces another one. Here a fragment is a view of what the socket has read.
 */
import { WalferryError } from '../kit/errors.ts'

/** Takes the payload of CopyData messages. */
export interface CopySink {
  /**
   * The next bytes of a payload. `first` and `last` mark its ends; an empty payload is one empty fragment. The socket
   * reads over them once this has returned: who wants to keep them copies them.
   */
  copyData(fragment: Buffer, first: boolean, last: boolean): void
  /** Everything that had arrived is handed on: a good moment to write and to answer. */
  batchEnd(): void
}

const copyDataType = 0x64
const headBytes = 5
/** Longer than any message but CopyData that a server sends in answer to our commands (a history file is the longest). */
const maxWholeBytes = 64 * 1024 * 1024

export class Framer {
  /** Where CopyData goes; while null, its messages are handed on whole like all others. */
  sink: CopySink | null = null
  readonly #onMessage: (message: Buffer) => void
  /** A head that comes in pieces. */
  readonly #head = Buffer.alloc(headBytes)
  #headHave = 0
  /** Bytes of the current message's body that have not come yet. */
  #left = 0
  /** The current message as far as it has come; null while its payload goes to the sink. */
  #whole: Buffer | null = null
  #wholeHave = 0
  #first = true
  /** Who got payload from the chunk that is being fed. The stream may end in the middle of it. */
  #told: CopySink | null = null

  /** @param onMessage gets each message that does not go to the sink, whole, with its head. */
  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage
  }

  /** Takes the next bytes from the socket, and keeps none of them. Throws PG_PROTOCOL if they cannot be a message. */
  feed(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headHave < headBytes) {
        const n = Math.min(headBytes - this.#headHave, chunk.length - at)
        const isWhole = n === headBytes
        if (!isWhole) chunk.copy(this.#head, this.#headHave, at, at + n)
        this.#headHave += n
        at += n
        if (this.#headHave < headBytes) break
        // Nearly every head lies whole in what was read, and is read there: a commit waits for it.
        if (isWhole) this.#begin(chunk, at - headBytes)
        else this.#begin(this.#head, 0)
        if (this.#left > 0) continue
      }
      const n = Math.min(this.#left, chunk.length - at)
      this.#left -= n
      this.#body(chunk.subarray(at, at + n))
      at += n
      if (this.#left === 0) this.#end()
    }
    const told = this.#told ?? this.sink
    this.#told = null
    told?.batchEnd()
  }

  /** A message begins, with the head at `bytes[at]`. */
  #begin(bytes: Buffer, at: number): void {
    this.#left = bytes.readInt32BE(at + 1) - 4
    this.#first = true
    const streamed = bytes[at] === copyDataType && this.sink !== null
    if (this.#left < 0 || (!streamed && this.#left > maxWholeBytes)) {
      throw new WalferryError(
        'PG_PROTOCOL',
        `a message of type 0x${bytes[at]?.toString(16)} has length ${this.#left}`,
        {
          hint: 'Is this really a PostgreSQL server, reached without a proxy that speaks another protocol?',
        },
      )
    }
    if (streamed) return
    this.#whole = Buffer.allocUnsafe(headBytes + this.#left)
    bytes.copy(this.#whole, 0, at, at + headBytes)
    this.#wholeHave = headBytes
  }

  #body(fragment: Buffer): void {
    if (this.#whole === null) {
      this.#told = this.sink
      this.sink?.copyData(fragment, this.#first, this.#left === 0)
      this.#first = false
      return
    }
    fragment.copy(this.#whole, this.#wholeHave)
    this.#wholeHave += fragment.length
  }

  #end(): void {
    this.#headHave = 0
    const message = this.#whole
    if (message === null) return
    this.#whole = null
    this.#onMessage(message)
  }
}
