/**
 * A store in memory, for what is about keys, orders and bytes and not about durability. It keeps the promises of
 * `object-store.ts`; it counts calls, and a test can step in before each of them.
 */
import { WalferryError } from '../../src/kit/errors.ts'
import { chunksOf } from '../../src/store/body.ts'
import { checkKey, checkPrefix } from '../../src/store/keys.ts'
import type {
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from '../../src/store/object-store.ts'

export type Operation = 'put' | 'get' | 'head' | 'findAmong' | 'list' | 'deleteMany'

interface Stored {
  readonly bytes: Uint8Array
  readonly modified: Date
}

const pageKeys = 1000 // a real store answers a listing in pages, and others write between two of them

export class MemoryStore implements ObjectStore {
  readonly url = 'memory://test'
  readonly conditionalPut = 'honoured'
  /** Requests so far; a listing counts once for each page. */
  readonly calls: Record<Operation, number> = { put: 0, get: 0, head: 0, findAmong: 0, list: 0, deleteMany: 0 }
  /** Called before each request, with its key or prefix. What it throws, the request rejects with. */
  before: (operation: Operation, key: string) => void | Promise<void> = () => undefined
  /** Bytes of all objects, and of those that are being put. */
  heldBytes = 0
  /** How an object's bytes are cut when they are read. */
  pieceBytes = 64 * 1024
  readonly #objects = new Map<string, Stored>()
  #sorted: string[] | null = null

  get keys(): readonly string[] {
    this.#sorted ??= [...this.#objects.keys()].sort()
    return this.#sorted
  }

  /** An object's bytes, without a request. */
  peek(key: string): Uint8Array {
    const stored = this.#objects.get(key)
    if (stored === undefined) throw missing(key)
    return stored.bytes
  }

  /** Stores an object without a request. */
  set(key: string, bytes: Uint8Array = new Uint8Array(0)): void {
    checkKey(key)
    if (!this.#objects.has(key)) this.#sorted = null
    this.heldBytes += bytes.length - (this.#objects.get(key)?.bytes.length ?? 0)
    this.#objects.set(key, { bytes, modified: new Date() })
  }

  /** As if the object had been stored then. */
  setModified(key: string, modified: Date): void {
    this.#objects.set(key, { bytes: this.peek(key), modified })
  }

  delete(key: string): void {
    this.heldBytes -= this.#objects.get(key)?.bytes.length ?? 0
    if (this.#objects.delete(key)) this.#sorted = null
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    checkKey(key)
    options.signal.throwIfAborted()
    const parts: Uint8Array[] = []
    try {
      for await (const part of chunksOf(body, options.signal)) {
        parts.push(Buffer.from(part))
        this.heldBytes += part.length
      }
      await this.#begin('put', key, options)
      if (options.ifAbsent && this.#objects.has(key)) {
        throw new WalferryError('KEY_EXISTS', `${key} is already there`, { fields: { key } })
      }
      this.set(key, Buffer.concat(parts))
    } finally {
      for (const part of parts) this.heldBytes -= part.length
    }
  }

  async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    checkKey(key)
    await this.#begin('get', key, options)
    return piecesOf(this.peek(key).subarray(options.from ?? 0), this.pieceBytes, options.signal)
  }

  async head(key: string, options: CallOptions): Promise<ObjectInfo | null> {
    checkKey(key)
    await this.#begin('head', key, options)
    return this.#info(key)
  }

  async findAmong(beginning: string, ends: readonly string[], options: CallOptions): Promise<ObjectInfo[]> {
    for (const end of ends) checkKey(beginning + end)
    await this.#begin('findAmong', beginning, options)
    return ends.map((end) => this.#info(beginning + end)).filter((info) => info !== null)
  }

  async *list(options: ListOptions): AsyncGenerator<ObjectInfo> {
    checkPrefix(options.prefix)
    let after = options.after ?? ''
    let left = options.limit ?? Number.POSITIVE_INFINITY
    for (;;) {
      await this.#begin('list', options.prefix, options)
      const page = this.#page(options.prefix, after, Math.min(left, pageKeys))
      yield* page
      left -= page.length
      after = page.at(-1)?.key ?? after
      if (page.length < pageKeys || left === 0) return
    }
  }

  async deleteMany(keys: readonly string[], options: CallOptions): Promise<void> {
    for (const key of keys) checkKey(key)
    await this.#begin('deleteMany', keys.join(' '), options)
    for (const key of keys) this.delete(key)
  }

  close(): void {}

  async #begin(operation: Operation, key: string, { signal }: CallOptions): Promise<void> {
    signal.throwIfAborted()
    this.calls[operation]++
    await this.before(operation, key)
    signal.throwIfAborted()
  }

  #info(key: string): ObjectInfo | null {
    const stored = this.#objects.get(key)
    return stored === undefined ? null : { key, bytes: stored.bytes.length, modified: stored.modified }
  }

  #page(prefix: string, after: string, limit: number): ObjectInfo[] {
    const { keys } = this
    const page: ObjectInfo[] = []
    for (let at = firstIndex(keys, prefix, after); at < keys.length && page.length < limit; at++) {
      const key = keys[at] ?? ''
      if (!key.startsWith(prefix)) break
      const info = this.#info(key)
      if (info !== null) page.push(info)
    }
    return page
  }
}

/** The index of the first key that is at least `prefix` and greater than `after`. */
function firstIndex(keys: readonly string[], prefix: string, after: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const key = keys[middle] ?? ''
    if (key < prefix || key <= after) low = middle + 1
    else high = middle
  }
  return low
}

async function* piecesOf(bytes: Uint8Array, pieceBytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    signal.throwIfAborted()
    yield Buffer.from(bytes.subarray(at, at + pieceBytes))
    await Promise.resolve()
  }
}

function missing(key: string): WalferryError {
  return new WalferryError('KEY_MISSING', `${key} is not there`, { fields: { key } })
}
