/**
 * The objects of one base backup, as they are written, and removed again where it does not come to an end.
 *
 * What a crash leaves has no sentinel, so nobody takes it for a backup. The claim is removed last: as long as anything
 * lies under the name, it says whose that is.
 */
import { claimKey, controlKey, manifestKey, partKey, sentinelKey } from '../archive/backup-keys.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, retry } from '../kit/retry.ts'
import { ObjectUpload, type UploadOptions } from './object-upload.ts'
import type { Cut } from './tar-cutter.ts'

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }
/** Who stops walferry waits for this; what is left then is told, and is no backup. */
const removeMs = 30_000

export class StoredObjects {
  readonly #name: string
  readonly #segment: string
  readonly #options: UploadOptions
  /** Of all that was begun, in order. */
  readonly #keys: string[] = []
  /** Another program has written there, too: what is whose is not known any more. */
  #isTaken = false
  /** One object is written at a time. */
  #open: ObjectUpload | null = null
  parts = 0
  /** Of the tar files, before and after compression. */
  plainBytes = 0
  storedBytes = 0

  constructor(name: string, segment: string, options: UploadOptions) {
    this.#name = name
    this.#segment = segment
    this.#options = options
  }

  async put(cut: Cut): Promise<void> {
    if (cut.kind === 'bytes') await this.#open?.write(cut.bytes)
    else if (cut.kind === 'open') this.#beginPart(cut.isControl)
    else await this.#endPart()
  }

  /** The server's manifest, which comes behind the tar files. */
  beginManifest(): void {
    this.#begin(manifestKey(this.#segment, this.#options.codec))
  }

  async putManifest(bytes: Uint8Array): Promise<void> {
    await this.#open?.write(bytes)
  }

  async endManifest(): Promise<void> {
    await this.#end()
  }

  /** JSON, which is neither compressed nor encrypted. Throws BACKUP_TAKEN if another one has put it. */
  async putJson(key: string, text: string): Promise<void> {
    const { archive, long, signal } = this.#options
    this.#keys.push(key)
    try {
      const put = (): Promise<void> => archive.store.put(key, Buffer.from(text), { ifAbsent: true, signal })
      await retry(put, { signal, backoff, forMs: long.retryForMs })
    } catch (error) {
      if (!isError(error, 'KEY_EXISTS')) throw error
      if ((await this.#read(key)) === text) return // ours: an answer was lost
      this.#isTaken = true
      throw new WalferryError('BACKUP_TAKEN', `another program has written ${key} meanwhile`, {
        hint: 'Two programs back up under one name. Nothing was removed: look at both before either is trusted.',
        fields: { key },
      })
    }
  }

  /** Removes what was written. Says so where it cannot; never rejects. Takes no signal, for an abort is one reason. */
  async remove(reason: unknown, log: Log): Promise<void> {
    const { store } = this.#options.archive
    const signal = AbortSignal.timeout(removeMs)
    try {
      await this.#open?.giveUp(reason)
      if (this.#isTaken) return
      // First what makes it a backup: whether that was written is not known where its answer was lost.
      const isSentinel = (key: string): boolean => key === sentinelKey(this.#name)
      await store.deleteMany(this.#keys.filter(isSentinel), { signal })
      await store.deleteMany(this.#keys, { signal })
      await store.deleteMany([claimKey(this.#segment)], { signal })
    } catch (error) {
      log.warn(`what was stored of the base backup ${this.#name} could not be removed: ${describe(error)}`, {
        objects: this.#keys.length,
        hint: 'It has no sentinel, so it is no backup. The next backup tells of it.',
      })
    }
  }

  #beginPart(isControl: boolean): void {
    const { codec } = this.#options
    this.#begin(isControl ? controlKey(this.#name, codec) : partKey(this.#name, ++this.parts, codec))
  }

  async #endPart(): Promise<void> {
    const part = await this.#end()
    this.plainBytes += part?.plainBytes ?? 0
    this.storedBytes += part?.storedBytes ?? 0
  }

  #begin(key: string): void {
    this.#keys.push(key)
    this.#open = new ObjectUpload(key, this.#options)
  }

  async #end(): Promise<ObjectUpload | null> {
    const ended = this.#open
    await ended?.end()
    this.#open = null
    return ended
  }

  async #read(key: string): Promise<string> {
    const { archive, signal } = this.#options
    const parts: Uint8Array[] = []
    for await (const part of await archive.store.get(key, { signal })) parts.push(part)
    return Buffer.concat(parts).toString('utf8')
  }
}
