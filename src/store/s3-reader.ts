/**
 * A store in an S3 bucket for who reads an object or two and ends: as `S3Store` (s3.ts), but objects are read without the
 * AWS SDK's client (s3-plain-get.ts). For all else, and for every answer that is not an object, the SDK is loaded then.
 */
import type { ConditionalPut } from './conditional-put.ts'
import { checkKey } from './keys.ts'
import type { CallOptions, GetOptions, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'
import type { S3Store, S3StoreOptions } from './s3.ts'
import { S3Calls } from './s3-calls.ts'
import { s3Url, trimmedPrefix } from './s3-names.ts'
import type { PlainAccess } from './s3-plain-access.ts'
import { PlainGet } from './s3-plain-get.ts'

export class S3Reader implements ObjectStore {
  readonly url: string
  readonly #options: S3StoreOptions
  readonly #calls: S3Calls
  readonly #plain: PlainGet
  #loading: Promise<S3Store> | null = null
  #loaded: S3Store | null = null

  /** `access` is what s3-plain-access.ts has found for these options. */
  constructor(options: S3StoreOptions, access: PlainAccess) {
    this.url = s3Url(options.bucket, trimmedPrefix(options.prefix))
    this.#options = options
    this.#calls = new S3Calls(options)
    this.#plain = new PlainGet(access, this.#calls)
  }

  get conditionalPut(): ConditionalPut | 'unknown' {
    return this.#loaded?.conditionalPut ?? 'unknown'
  }

  async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    checkKey(key)
    if ((options.from ?? 0) === 0) {
      const call = { operation: 'GetObject', target: `${this.url}/${key}` }
      const bytes = await this.#plain.get(call, key, options.signal)
      if (bytes !== null) return bytes
    }
    return await (await this.#sdk()).get(key, options)
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    await (await this.#sdk()).put(key, body, options)
  }

  async head(key: string, options: CallOptions): Promise<ObjectInfo | null> {
    return await (await this.#sdk()).head(key, options)
  }

  async findAmong(beginning: string, ends: readonly string[], options: CallOptions): Promise<ObjectInfo[]> {
    return await (await this.#sdk()).findAmong(beginning, ends, options)
  }

  async *list(options: ListOptions): AsyncGenerator<ObjectInfo> {
    yield* (await this.#sdk()).list(options)
  }

  async deleteMany(keys: readonly string[], options: CallOptions): Promise<void> {
    await (await this.#sdk()).deleteMany(keys, options)
  }

  close(): void {
    this.#calls.close()
    void this.#loading?.then(
      (store) => store.close(),
      () => undefined,
    )
  }

  async #sdk(): Promise<S3Store> {
    this.#loading ??= import('./s3.ts').then(({ S3Store }) => new S3Store(this.#options))
    this.#loaded = await this.#loading
    return this.#loaded
  }
}
