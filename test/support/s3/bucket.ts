/** What a bucket holds, in memory, and the ways a test may look at it and spoil it. */
import { crc32Base64, hash, type Payload } from './payload.ts'

export interface StoredObject {
  readonly bytes: Buffer
  /** With its quotes. */
  readonly etag: string
  readonly modified: Date
  /** Headers that are given back with the object: content-type and x-amz-meta-*. */
  readonly headers: Readonly<Record<string, string>>
  /** Base64. None for an object that was put in parts. */
  readonly crc32?: string
}

export interface Upload {
  readonly key: string
  readonly started: Date
  readonly headers: Readonly<Record<string, string>>
  readonly announcesChecksums: boolean
  readonly parts: Map<number, { readonly bytes: Buffer; readonly etag: string; readonly crc32: string }>
}

export class Bucket {
  readonly uploads = new Map<string, Upload>()
  readonly #objects = new Map<string, StoredObject>()
  #inOrder: string[] | undefined

  get size(): number {
    return this.#objects.size
  }

  /** Bytes of all objects and parts. */
  get bytes(): number {
    let sum = 0
    for (const { bytes } of this.#objects.values()) sum += bytes.length
    for (const { parts } of this.uploads.values()) for (const { bytes } of parts.values()) sum += bytes.length
    return sum
  }

  /** All keys in the order of their bytes. */
  keys(): readonly string[] {
    // As latin1, a string has one character for each byte.
    this.#inOrder ??= [...this.#objects.keys()]
      .map((key) => Buffer.from(key).toString('latin1'))
      .sort()
      .map((bytes) => Buffer.from(bytes, 'latin1').toString())
    return this.#inOrder
  }

  has(key: string): boolean {
    return this.#objects.has(key)
  }

  object(key: string): StoredObject | undefined {
    return this.#objects.get(key)
  }

  get(key: string): Buffer | undefined {
    return this.#objects.get(key)?.bytes
  }

  /** Stores bytes as if they had been put whole. */
  set(key: string, bytes: Uint8Array | string, headers: Readonly<Record<string, string>> = {}): StoredObject {
    const copy = Buffer.from(bytes)
    const summed = { bytes: copy, md5: hash('md5', copy, 'hex'), crc32: crc32Base64(copy) }
    return this.put(key, summed, headers)
  }

  put(key: string, { bytes, md5, crc32 }: Payload, headers: Readonly<Record<string, string>>): StoredObject {
    const sum = crc32 ?? crc32Base64(bytes)
    return this.store(key, { bytes, etag: `"${md5}"`, modified: new Date(), headers, crc32: sum })
  }

  store(key: string, object: StoredObject): StoredObject {
    if (!this.#objects.has(key)) this.#inOrder = undefined
    this.#objects.set(key, object)
    return object
  }

  delete(key: string): boolean {
    const was = this.#objects.delete(key)
    if (was) this.#inOrder = undefined
    return was
  }

  clear(): void {
    this.uploads.clear()
    this.#objects.clear()
    this.#inOrder = undefined
  }

  /** Alters one byte, and the sums with it: what the store itself cannot notice. */
  flipByte(key: string, at: number): void {
    const bytes = Buffer.from(this.get(key) ?? '')
    if (at >= bytes.length) throw new Error(`${key} has no byte ${at}`)
    bytes[at] = (bytes[at] ?? 0) ^ 0xff
    this.set(key, bytes, this.#objects.get(key)?.headers)
  }
}
