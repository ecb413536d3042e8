/**
 * A store in an S3 bucket, on the AWS SDK. Loading the SDK takes longer than starting Node.js, so this file is loaded
 * with `import()` where S3 was chosen.
 *
 * Bodies go as buffers with a CRC-32 in the header, which every S3 store takes; never as streams, whose chunked form
 * with a trailer many refuse. Credentials come from the SDK's default chain (variables, profile, role).
 */
import { Readable } from 'node:stream'
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { isError, WalferryError } from '../kit/errors.ts'
import { type Backoff, retry } from '../kit/retry.ts'
import { PartBuffers, partsOf } from './body.ts'
import type { ConditionalPut } from './conditional-put.ts'
import { checkKey, checkPrefix, isKey } from './keys.ts'
import type { CallOptions, GetOptions, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'
import { IfAbsent, type NotHonoured } from './s3-if-absent.ts'
import { checkEncrypted, type ObjectSettings, settingsInput } from './s3-object-settings.ts'
import { S3Connection, type S3ConnectionOptions } from './s3-connection.ts'
import { s3Error } from './s3-errors.ts'
import { takingObjects } from './s3-listing.ts'
import { s3Url, trimmedPrefix } from './s3-names.ts'
import { S3Pieces } from './s3-pieces.ts'
import { notS3, partBytes, S3Upload } from './s3-upload.ts'

export interface S3StoreOptions extends S3ConnectionOptions, ObjectSettings {
  readonly bucket: string
  /** What all keys begin with in the bucket, without slashes at its ends. Default: nothing. */
  readonly prefix?: string
  /** Called once, if the service turns out not to honour conditional writes: two writers at once may meet then. */
  readonly onNotHonoured?: (found: NotHonoured) => void
}

const smallBytes = 64 * 1024 // to put that much twice is not noticed
const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }
const pageKeys = 1000 // the most that S3 lists, and the most that it deletes, in one call
const pageBytes = 512 * 1024 // a page of long keys, as XML

export class S3Store implements ObjectStore {
  readonly url: string
  readonly #bucket: string
  /** "" or with a slash at its end. */
  readonly #prefix: string
  readonly #connection: S3Connection
  readonly #settings: ObjectSettings
  readonly #ifAbsent: IfAbsent
  readonly #buffers = new PartBuffers(partBytes)

  constructor(options: S3StoreOptions) {
    const prefix = trimmedPrefix(options.prefix)
    this.url = s3Url(options.bucket, prefix)
    this.#bucket = options.bucket
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.#connection = new S3Connection(options)
    this.#settings = options
    this.#ifAbsent = new IfAbsent(options.endpoint === undefined, options.onNotHonoured ?? (() => undefined))
  }

  get conditionalPut(): ConditionalPut | 'unknown' {
    return this.#ifAbsent.found
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    checkKey(key)
    if (body instanceof Uint8Array) await this.#putWhole(key, body, options)
    else await this.#putIterable(key, body, options)
  }

  async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    checkKey(key)
    const { from = 0, signal } = options
    const call = { operation: 'GetObject', target: this.#urlOf(key) }
    // A range is only asked for where one is needed: an empty object has none.
    const range = from === 0 ? {} : { Range: `bytes=${from}-` }
    try {
      const answer = await this.#connection.send(call, 0, signal, (client, sending) =>
        client.send(new GetObjectCommand({ ...this.#object(key), ...range }), sending),
      )
      const { Body, ContentLength, ContentRange, ETag } = answer
      if (!(Body instanceof Readable)) throw notS3(call.operation, call.target, 'body')
      const bytes = from === 0 ? ContentLength : bytesToEnd(ContentRange, from)
      if (bytes === undefined || ETag === undefined) {
        Body.destroy()
        throw notS3(call.operation, call.target, 'length, range or ETag')
      }
      return this.#connection.read(call, Body, bytes, signal)
    } catch (error) {
      if (isError(error, 'STORE_FAILED') && error.fields['status'] === 416) return nothing()
      throw error
    }
  }

  async head(key: string, options: CallOptions): Promise<ObjectInfo | null> {
    checkKey(key)
    const { signal } = options
    const call = { operation: 'HeadObject', target: this.#urlOf(key) }
    try {
      const answer = await this.#connection.send(call, 0, signal, (client, sending) =>
        client.send(new HeadObjectCommand(this.#object(key)), sending),
      )
      return this.#info(call.operation, key, answer.ContentLength, answer.LastModified)
    } catch (error) {
      if (!isError(error, 'KEY_MISSING')) throw error
    }
    // The answer to HEAD has no body, so it may as well be the bucket that is missing, or the endpoint no S3 at all.
    // A listing that succeeds proves that the bucket was looked at. It costs a second request, at the price of a PUT,
    // only where something is absent; and it is as consistent as HEAD is.
    for await (const found of this.list({ prefix: key, limit: 1, signal })) if (found.key === key) return found
    return null
  }

  /** By one listing: a request for each would cost more than ten times as much, where most are absent. */
  async findAmong(beginning: string, ends: readonly string[], { signal }: CallOptions): Promise<ObjectInfo[]> {
    const found = new Map<string, ObjectInfo>()
    for await (const info of this.list({ prefix: beginning, signal })) found.set(info.key, info)
    return ends.map((end) => found.get(beginning + end)).filter((info) => info !== undefined)
  }

  async *list(options: ListOptions): AsyncGenerator<ObjectInfo> {
    const { prefix, after = '', limit = Number.POSITIVE_INFINITY, signal } = options
    checkPrefix(prefix)
    const call = { operation: 'ListObjectsV2', target: this.#urlOf(prefix) }
    const start = after === '' ? {} : { StartAfter: this.#prefix + after }
    let token: string | undefined
    let last = after
    for (let left = limit; left > 0; ) {
      const input = {
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        MaxKeys: Math.min(left, pageKeys),
        ...(token === undefined ? start : { ContinuationToken: token }),
      }
      const command = new ListObjectsV2Command(input)
      const taken = takingObjects(command)
      const page = await this.#connection.send(call, pageBytes, signal, (client, sending) =>
        client.send(command, sending),
      )
      // Anything that is not a listing must not pass for an empty one.
      if (page.IsTruncated === undefined) throw notS3(call.operation, call.target, 'IsTruncated')
      for (const { Key = '', Size, LastModified } of taken() ?? page.Contents ?? []) {
        const key = Key.slice(this.#prefix.length)
        if (!isKey(key)) continue
        if (key <= last) throw this.#outOfOrder(last, key)
        last = key
        left--
        yield this.#info(call.operation, key, Size, LastModified)
      }
      if (!page.IsTruncated) return
      token = page.NextContinuationToken
      if (token === undefined) throw notS3(call.operation, call.target, 'NextContinuationToken')
    }
  }

  async deleteMany(keys: readonly string[], options: CallOptions): Promise<void> {
    for (const key of keys) checkKey(key)
    const call = { operation: 'DeleteObjects', target: this.url }
    for (let at = 0; at < keys.length; at += pageKeys) {
      const batch = keys.slice(at, at + pageKeys)
      const input = {
        Bucket: this.#bucket,
        Delete: { Objects: batch.map((key) => ({ Key: this.#prefix + key })) },
      }
      const answer = await this.#connection.send(call, pageBytes, options.signal, (client, sending) =>
        client.send(new DeleteObjectsCommand(input), sending),
      )
      const failed = answer.Errors?.[0]
      if (failed !== undefined) throw this.#notDeleted(failed.Key ?? '', failed.Code ?? '')
      // Not asked to be quiet, S3 names each key that is gone: an answer that does not is none.
      const gone = new Set(answer.Deleted?.map((deleted) => deleted.Key))
      if (batch.some((key) => !gone.has(this.#prefix + key))) throw notS3(call.operation, call.target, 'Deleted')
    }
  }

  close(): void {
    this.#connection.close()
  }

  async #putWhole(key: string, bytes: Uint8Array, options: PutOptions): Promise<void> {
    const { ifAbsent, signal } = options
    const send = (condition: boolean): Promise<void> => this.#sendWhole(key, bytes, { ifAbsent: condition, signal })
    if (!ifAbsent) return await send(false)
    const size = bytes.length <= smallBytes ? 'small' : 'large'
    await this.#ifAbsent.write({ look: () => this.#refuseTaken(key, signal), send, size })
  }

  async #sendWhole(key: string, bytes: Uint8Array, options: PutOptions): Promise<void> {
    const call = { operation: 'PutObject', target: this.#urlOf(key), ifAbsent: options.ifAbsent }
    const input = {
      ...this.#object(key),
      ...settingsInput(this.#settings),
      Body: bytes,
      ...(options.ifAbsent ? { IfNoneMatch: '*' } : {}),
    }
    const { ETag, ServerSideEncryption } = await this.#connection.send(
      call,
      bytes.length,
      options.signal,
      (client, sending) => client.send(new PutObjectCommand(input), sending),
    )
    if (ETag === undefined) throw notS3(call.operation, call.target, 'ETag')
    checkEncrypted(this.#settings, call, ServerSideEncryption)
  }

  /** One PUT if the bytes end within one part, else an upload in parts. */
  async #putIterable(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const { ifAbsent, signal, long = { piecesAtOnce: 1, retryForMs: 0 } } = options
    const target = {
      connection: this.#connection,
      bucket: this.#bucket,
      key: this.#prefix + key,
      url: this.#urlOf(key),
      settings: this.#settings,
    }
    const again = { signal, backoff, forMs: long.retryForMs }
    let upload: S3Upload | undefined
    let pieces: S3Pieces | undefined
    try {
      for await (const part of partsOf(body, this.#buffers, signal)) {
        if (upload === undefined && part.last) {
          await retry(() => this.#putWhole(key, part.bytes, options), again)
          return this.#buffers.give(part.bytes)
        }
        upload ??= await retry(() => S3Upload.begin(target, signal), again)
        pieces ??= new S3Pieces(upload, long, this.#buffers, signal)
        await pieces.add(part.bytes)
      }
      await pieces?.allSent()
      const send = async (condition: boolean): Promise<void> =>
        await retry(async () => upload?.complete(condition, signal), again)
      if (!ifAbsent) return await send(false)
      await this.#ifAbsent.write({ look: () => this.#refuseTaken(key, signal), send, size: 'parts' })
    } catch (error) {
      await pieces?.giveUp(error)
      await upload?.abandon()
      throw error
    }
  }

  async #refuseTaken(key: string, signal: AbortSignal): Promise<void> {
    if ((await this.head(key, { signal })) === null) return
    throw new WalferryError('KEY_EXISTS', `${this.#urlOf(key)} is already there`, {
      fields: { target: this.#urlOf(key) },
    })
  }

  #object(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key }
  }

  #urlOf(key: string): string {
    return `${this.url}/${key}`
  }

  #info(operation: string, key: string, bytes: number | undefined, modified: Date | undefined): ObjectInfo {
    if (bytes === undefined || modified === undefined) throw notS3(operation, this.#urlOf(key), 'length or time')
    return { key, bytes, modified }
  }

  #notDeleted(fullKey: string, s3Code: string): WalferryError {
    const cause = Object.assign(new Error(`${fullKey}: ${s3Code}`), { name: s3Code })
    return s3Error(cause, { operation: 'DeleteObjects', target: `s3://${this.#bucket}/${fullKey}` })
  }

  #outOfOrder(last: string, key: string): WalferryError {
    return new WalferryError('STORE_FAILED', `${this.url} lists ${key} behind ${last}`, {
      hint: 'This store does not list keys in their order, as S3 "directory buckets" do not: use another bucket.',
      fields: { last, key },
    })
  }
}

/** The length of a range that runs from `from` to the object's end, which is in `bytes <first>-<last>/<length>`. */
function bytesToEnd(contentRange: string | undefined, from: number): number | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(contentRange ?? '')
  return match !== null && Number(match[1]) === from ? Number(match[2]) - from : undefined
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // The range began at or past the object's end.
}
