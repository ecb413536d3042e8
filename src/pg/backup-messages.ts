/**
 * What the server sends of a base backup, from its CopyOut streams to events (documentation, section "Streaming
 * Replication Protocol", BASE_BACKUP).
 *
 * 13 and 14: one CopyOut for each archive, in the order of the header's rows, the main one last; its payloads are the
 * archive's bytes. The manifest is one more CopyOut.
 *
 * 15 and later: one CopyOut, whose messages begin with a byte that says what they are:
 *
 *     n  name, 0, path, 0     an archive begins: "base.tar" without a path, or "16384.tar" with the tablespace's
 *     d  bytes                of the archive, or of the manifest
 *     p  int64                bytes so far; we count ourselves
 *     m                       the manifest begins
 */
import { WalferryError } from '../kit/errors.ts'
import type { CopyOut } from './exchange.ts'
import type { CopySink } from './framing.ts'

/** A row of the header: `oid` is null for the main data directory. */
export interface BackupPart {
  readonly oid: string | null
  /** The tablespace's folder on the server. */
  readonly location: string | null
  /** What the server guesses, before it reads the files. */
  readonly estimatedBytes: number
}

export type BackupEvent =
  /** A tar archive begins: that of a tablespace, or (null) of the main data directory. */
  | { readonly kind: 'archive'; readonly oid: string | null }
  | { readonly kind: 'manifest' }
  /** The next bytes of what began last; only until whoever is told returns, or asks for the next event. */
  | { readonly kind: 'data'; readonly bytes: Buffer }

/** Told in the order of the stream, synchronously. */
export type BackupListener = (event: BackupEvent) => void

const newArchive = 0x6e
const data = 0x64
const progress = 0x70
const manifest = 0x6d
const largestNameBytes = 64 * 1024

/** For 13 and 14. `parts` are the header's rows, known once the first stream begins. */
export class PlainCopies implements CopyOut, CopySink {
  readonly #parts: () => readonly BackupPart[]
  readonly #tell: BackupListener
  #next = 0

  constructor(parts: () => readonly BackupPart[], tell: BackupListener) {
    this.#parts = parts
    this.#tell = tell
  }

  begins(): CopySink {
    const parts = this.#parts()
    const part = parts[this.#next]
    if (this.#next > parts.length) throw unexpected('another stream behind the manifest')
    this.#next++
    this.#tell(part === undefined ? { kind: 'manifest' } : { kind: 'archive', oid: part.oid })
    return this
  }

  ends(): void {}

  copyData(fragment: Buffer): void {
    if (fragment.length > 0) this.#tell({ kind: 'data', bytes: fragment })
  }

  batchEnd(): void {}
}

/** For 15 and later. */
export class TaggedCopy implements CopyOut, CopySink {
  readonly #parts: () => readonly BackupPart[]
  readonly #tell: BackupListener
  #type = 0
  /** Of a message that is put together. */
  #pieces: Buffer[] = []
  #bytes = 0
  #begun = false

  constructor(parts: () => readonly BackupPart[], tell: BackupListener) {
    this.#parts = parts
    this.#tell = tell
  }

  begins(): CopySink {
    return this
  }

  ends(): void {}

  copyData(fragment: Buffer, first: boolean, last: boolean): void {
    if (first) {
      if (fragment.length === 0) throw unexpected('an empty message')
      this.#type = fragment[0] ?? 0
      this.#pieces = []
      this.#bytes = 0
    }
    const body = first ? fragment.subarray(1) : fragment
    if (this.#type === data) {
      if (!this.#begun) throw unexpected('data that belongs to nothing')
      if (body.length > 0) this.#tell({ kind: 'data', bytes: body })
      return
    }
    this.#pieces.push(Buffer.from(body))
    this.#bytes += body.length
    if (this.#bytes > largestNameBytes) throw unexpected(`a message of ${this.#bytes} bytes that is no data`)
    if (last) this.#whole(Buffer.concat(this.#pieces))
  }

  batchEnd(): void {}

  #whole(body: Buffer): void {
    switch (this.#type) {
      case newArchive:
        this.#begun = true
        this.#tell({ kind: 'archive', oid: this.#oidOf(nameIn(body)) })
        return
      case manifest:
        this.#begun = true
        this.#tell({ kind: 'manifest' })
        return
      case progress:
        return
      default:
        throw unexpected(`a message of unknown type 0x${this.#type.toString(16)}`)
    }
  }

  /** Only a name that the header has announced is one: it would become a part of other names. */
  #oidOf(name: string): string | null {
    const part = this.#parts().find(({ oid }) => name === `${oid ?? 'base'}.tar`)
    if (part === undefined) throw unexpected(`an archive named ${JSON.stringify(name.slice(0, 100))}`)
    return part.oid
  }
}

function nameIn(body: Buffer): string {
  const end = body.indexOf(0)
  if (end === -1) throw unexpected('an archive without a name')
  return body.toString('utf8', 0, end)
}

function unexpected(what: string): WalferryError {
  return new WalferryError('PG_PROTOCOL', `the server sent in its base backup ${what}`)
}
