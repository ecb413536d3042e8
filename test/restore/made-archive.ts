/** An archive in memory, to be filled with made-up WAL. Keys are written out, so that they do not agree by mistake. */
import { memoryAt, piecesOf } from '../../src/archive/bytes-at.ts'
import { encode } from '../../src/archive/codec.ts'
import type { WritableCodec } from '../../src/archive/codec-name.ts'
import type { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { collect } from '../archive/streams.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { type MadeWal, segmentBytes } from './made-wal.ts'

/** `lz4` as walferry writes it, or the bytes as they are. */
type MadeCodec = Exclude<WritableCodec, 'zst'>

export class MadeArchive {
  readonly store: MemoryStore
  readonly #secret: EncryptionKey | null

  constructor(store = new MemoryStore(), secret: EncryptionKey | null = null) {
    this.store = store
    this.#secret = secret
  }

  /** walferry_001/identity.json; returns its key. */
  identity({ systemIdentifier }: MadeWal): string {
    const firstUse = '2026-11-21T01:38:00.000Z'
    const encryption = this.#secret === null ? {} : { keyFingerprint: this.#secret.fingerprint }
    const text = JSON.stringify({ systemIdentifier: String(systemIdentifier), segmentBytes, firstUse, ...encryption })
    this.store.set('walferry_001/identity.json', Buffer.from(text))
    return 'walferry_001/identity.json'
  }

  /** A whole segment, under its own name or another one; returns its key. */
  async segment(wal: MadeWal, segno: number, name = nameOf(1, segno), codec: MadeCodec = 'lz4'): Promise<string> {
    return await this.#set(`wal_005/${name}${extension(codec)}`, wal.segment(segno), codec)
  }

  /** The bytes [from, to) of a segment; returns the chunk's key. */
  async chunk(
    wal: MadeWal,
    segno: number,
    from: number,
    to: number,
    codec: MadeCodec = 'lz4',
    timeline = 1,
  ): Promise<string> {
    const key = `${chunkFolder(timeline, segno)}${hex8(from)}-${hex8(to)}${extension(codec)}`
    return await this.#set(key, wal.segment(segno).subarray(from, to), codec)
  }

  async history(timeline: number, text: string): Promise<string> {
    return await this.#set(`wal_005/${hex8(timeline).toUpperCase()}.history.lz4`, Buffer.from(text), 'lz4')
  }

  /** walferry_001/backlog/SLOT.json; returns its key. */
  backlog(slot: string, text = '{"timeline":1,"lsn":"0/A000000","host":"h1","time":"2026-11-21T01:38:00Z"}'): string {
    this.store.set(`walferry_001/backlog/${slot}.json`, Buffer.from(text))
    return `walferry_001/backlog/${slot}.json`
  }

  async #set(key: string, plain: Buffer, codec: MadeCodec): Promise<string> {
    this.store.set(key, await collect(encode(codec, piecesOf(memoryAt(plain), 0, plain.length), this.#secret)))
    return key
  }
}

/** Example: (1, 42) -> `00000001000000000000002A`. */
export function nameOf(timeline: number, segno: number): string {
  return (hex8(timeline) + hex8(0) + hex8(segno)).toUpperCase()
}

export function chunkFolder(timeline: number, segno: number): string {
  return `walferry_001/tail/${hex8(timeline)}-${hex8(0)}-${hex8(segno)}/`
}

function extension(codec: MadeCodec): string {
  return codec === 'lz4' ? '.lz4' : ''
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0')
}
