/**
 * Cuts the server's tar archives, as they come, into parts that are tar archives themselves: at the boundaries of
 * members, so that each part can be unpacked on its own, in any order.
 *
 * - A part is closed before the member with which it would become larger than `partBytes`; a larger member has a part
 *   of its own.
 * - The members of a tablespace's archive are moved into `pg_tblspc/<oid>/`.
 * - `global/pg_control` is kept until the end, and becomes a part by itself: who unpacks it last never has a folder that
 *   could be started while files are missing.
 * - The server ends its archives with two blocks of zeros (15 and later) or without (13 and 14). Each part gets its own.
 */
import { archiveEnd, blockBytes, inBlocks, moveInto } from '../archive/tar-header.ts'
import { type Member, readMember, strange } from './server-member.ts'

export type Cut =
  /** A part begins. `isControl`: the last one, with pg_control. */
  | { readonly kind: 'open'; readonly isControl: boolean }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'close' }

const controlFile = 'global/pg_control'
/** PG_CONTROL_FILE_SIZE is 8192. */
const largestControlBytes = 64 * 1024

export class TarCutter {
  readonly #partBytes: number
  /** Where the members of this archive go; null: where they say. */
  #folder: string | null = null
  readonly #header = Buffer.alloc(blockBytes)
  #headerHave = 0
  /** Bytes of the current member's content, filling included, that have not come yet. */
  #left = 0
  #keeps = false
  #hasEnded = false
  /** Bytes of the open part; null if none is open. */
  #open: number | null = null
  #control: Uint8Array[] = []

  constructor(partBytes: number) {
    this.#partBytes = partBytes
  }

  /** An archive begins: that of a tablespace, or (null) of the main data directory. The one before it has ended. */
  beginArchive(oid: string | null): void {
    this.endArchive()
    this.#folder = oid === null ? null : `pg_tblspc/${oid}`
    this.#hasEnded = false
  }

  /** Throws PG_PROTOCOL if the archive was cut off. */
  endArchive(): void {
    if (this.#left > 0 || this.#headerHave > 0) throw strange('an end in the middle of a file')
  }

  /** Takes the next bytes of the archive. What is yielded may be views of them. */
  *feed(bytes: Buffer): Generator<Cut, void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const content = bytes.subarray(at, at + this.#left)
        at += content.length
        this.#left -= content.length
        yield* this.#put(content)
        continue
      }
      const n = Math.min(blockBytes - this.#headerHave, bytes.length - at)
      bytes.copy(this.#header, this.#headerHave, at, at + n)
      this.#headerHave += n
      at += n
      if (this.#headerHave === blockBytes) yield* this.#begin()
    }
  }

  /** Everything has come: closes the last part, and yields the one of pg_control. */
  *finish(): Generator<Cut, void> {
    this.endArchive()
    yield* this.#close()
    if (this.#control.length === 0) throw strange(`no ${controlFile}`)
    yield { kind: 'open', isControl: true }
    for (const bytes of this.#control) yield { kind: 'bytes', bytes }
    yield { kind: 'bytes', bytes: archiveEnd }
    yield { kind: 'close' }
  }

  *#begin(): Generator<Cut, void> {
    this.#headerHave = 0
    const member = readMember(this.#header)
    if (member === null) {
      this.#hasEnded = true
      return
    }
    if (this.#hasEnded) throw strange('a file behind its end')
    this.#left = inBlocks(member.bytes)
    this.#keeps = this.#folder === null && member.name === controlFile
    if (this.#keeps) this.#mustBeKept(member)
    else yield* this.#makeRoom(blockBytes + this.#left)
    if (this.#folder !== null) moveInto(this.#header, this.#folder, strange)
    yield* this.#put(Buffer.from(this.#header))
  }

  #mustBeKept(member: Member): void {
    if (this.#control.length > 0) throw strange(`two files named ${controlFile}`)
    if (member.bytes > largestControlBytes) throw strange(`a ${controlFile} of ${member.bytes} bytes`)
  }

  *#put(bytes: Uint8Array): Generator<Cut, void> {
    if (this.#keeps) {
      this.#control.push(Buffer.from(bytes))
      return
    }
    this.#open = (this.#open ?? 0) + bytes.length
    yield { kind: 'bytes', bytes }
  }

  *#makeRoom(bytes: number): Generator<Cut, void> {
    if (this.#open !== null && this.#open + bytes + archiveEnd.length > this.#partBytes) yield* this.#close()
    if (this.#open !== null) return
    this.#open = 0
    yield { kind: 'open', isControl: false }
  }

  *#close(): Generator<Cut, void> {
    if (this.#open === null) return
    this.#open = null
    yield { kind: 'bytes', bytes: archiveEnd }
    yield { kind: 'close' }
  }
}
