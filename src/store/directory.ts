/**
 * A store in a folder: the key is the path below it.
 *
 *     <root>/wal_005/00000001000000000000002A.lz4
 *     <root>/.walferry-tmp/1b4e28ba-2fa1-11d2-883f-0016d3cca427     being written
 *
 * An object is written and synced under a temporary name in a folder of its own (WAL-G takes every
 * `<24 hex>.<ext>` beside the segments for a segment), then linked or renamed to its key, then its folder is synced.
 * A large one is synced while it is written, too, or nothing else would go on while the disk takes what has gathered.
 * A crash at any point leaves the old state, and at most a file in `.walferry-tmp`, which a later start removes.
 *
 * The root is never created: a missing one often is a disk that is not mounted, and a new folder in its place would
 * look like an empty archive.
 */
import { type FileHandle, mkdir, open, readdir, rmdir, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { claimDurably, renameDurably, syncFolder } from '../kit/durable-fs.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { writeAll } from '../kit/write-all.ts'
import { chunksOf } from './body.ts'
import { directoryError } from './directory-errors.ts'
import { isGone, walkKeys } from './directory-walk.ts'
import { checkKey, checkPrefix, temporaryFolder } from './keys.ts'
import type { CallOptions, GetOptions, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

// The archive holds every byte of the database: nothing for others. The group may read, so that the server's account
// can restore what walferry's account wrote; whoever wants less sets a umask.
const fileMode = 0o640
const folderMode = 0o750

const readBytes = 256 * 1024 // a trip to the thread pool for each; 64 readers at once hold 16 MiB
const syncEachBytes = 32 * 1024 * 1024 // costs little beside the writing, and leaves little for the sync at the end
const looksAtOnce = 16 // the thread pool's size as bin/walferry sets it
const leftoverAgeMs = 24 * 3600 * 1000 // no upload is silent for a day: each chunk sets the file's time anew
const publishAttempts = 20 // each is lost only to one more deletion of the last object in the same folder
const durableFoldersKept = 1000

export class DirectoryStore implements ObjectStore {
  readonly url: string
  readonly conditionalPut = 'honoured' // a link to a name that is taken fails
  readonly #root: string
  /** Folders whose entries, up to the root, were synced by this process. */
  readonly #durableFolders = new Set<string>()
  #swept = false

  /** `root` must exist once the store is used, not yet. */
  constructor(root: string) {
    this.#root = resolve(root)
    this.url = this.#root
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    checkKey(key)
    options.signal.throwIfAborted()
    const written = await this.#write(key, body, options.signal)
    try {
      options.signal.throwIfAborted()
      await this.#io(`store ${key}`, () => this.#publish(written, key, options.ifAbsent))
    } catch (error) {
      await discard(written)
      throw error
    }
  }

  async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    checkKey(key)
    options.signal.throwIfAborted()
    const file = await this.#io(`read ${key}`, () => this.#open(key))
    try {
      const info = await this.#io(`read ${key}`, () => file.stat())
      if (!info.isFile()) throw this.#missing(key)
      return this.#read(file, key, options.from ?? 0, info.size, options.signal)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async head(key: string, options: CallOptions): Promise<ObjectInfo | null> {
    checkKey(key)
    options.signal.throwIfAborted()
    return await this.#io(`look at ${key}`, () => this.#look(key))
  }

  /** Each by itself: a listing would read the names of the whole folder. */
  async findAmong(beginning: string, ends: readonly string[], options: CallOptions): Promise<ObjectInfo[]> {
    const found: ObjectInfo[] = []
    for (let i = 0; i < ends.length; i += looksAtOnce) {
      const infos = await Promise.all(ends.slice(i, i + looksAtOnce).map((end) => this.head(beginning + end, options)))
      found.push(...infos.filter((info) => info !== null))
    }
    return found
  }

  async *list(options: ListOptions): AsyncGenerator<ObjectInfo> {
    const { prefix, after = '', limit = Number.POSITIVE_INFINITY, signal } = options
    checkPrefix(prefix)
    signal.throwIfAborted()
    await this.#io(`list ${prefix}`, () => this.#mustBeThere())
    const keys = walkKeys(this.#root, { prefix, after, limit }, signal)
    try {
      for (let left = limit; left > 0; ) {
        const next = await this.#io(`list ${prefix}`, () => takeFrom(keys, Math.min(left, looksAtOnce)))
        if (next.length === 0) return
        signal.throwIfAborted()
        const infos = await this.#io(`list ${prefix}`, () => Promise.all(next.map((key) => this.#look(key))))
        for (const info of infos) {
          // One that is gone by now is passed over.
          if (info === null) continue
          left--
          yield info
        }
      }
    } finally {
      await keys.return(undefined)
    }
  }

  /** The removals are durable, too: what was deleted for a reason should not be back after a power cut. */
  async deleteMany(keys: readonly string[], options: CallOptions): Promise<void> {
    for (const key of keys) checkKey(key)
    await this.#io('delete objects', () => this.#mustBeThere())
    const folders = new Set<string>()
    for (const key of keys) {
      options.signal.throwIfAborted()
      const path = join(this.#root, key)
      if (await this.#io(`delete ${key}`, () => removeFile(path))) folders.add(dirname(path))
    }
    for (const folder of folders) {
      options.signal.throwIfAborted()
      await this.#io('delete objects', () => this.#settle(folder))
    }
  }

  close(): void {
    // Nothing is held between calls.
  }

  /** Writes a body to a new temporary file, synced, and gives its path. */
  async #write(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string> {
    await this.#io(`make ${temporaryFolder}`, () => this.#prepare())
    const path = join(this.#root, temporaryFolder, crypto.randomUUID())
    const file = await this.#io(`write ${key}`, () => open(path, 'wx', fileMode))
    try {
      try {
        await this.#fill(file, key, chunksOf(body, signal))
        await this.#io(`sync ${key}`, () => file.sync())
      } finally {
        await this.#io(`write ${key}`, () => file.close())
      }
    } catch (error) {
      await discard(path)
      throw error
    }
    return path
  }

  /** Writes into an open file. Rejects with what a sync on the way has failed with: the kernel tells of a lost page once. */
  async #fill(file: FileHandle, key: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let syncing = Promise.resolve()
    let unsynced = 0
    try {
      for await (const chunk of chunks) {
        // Only this is the store's; an error of the body itself goes to the caller as it is.
        await this.#io(`write ${key}`, () => writeAll(file, chunk))
        unsynced += chunk.length
        if (unsynced < syncEachBytes) continue
        unsynced = 0
        await syncing
        syncing = this.#io(`sync ${key}`, () => file.datasync())
        // Heard below, and until then it is nobody's.
        syncing.catch(() => undefined)
      }
    } finally {
      await Promise.allSettled([syncing])
    }
    await syncing
  }

  /** Makes the folder for temporary files if it is not there, and removes what crashed writers left, once. */
  async #prepare(): Promise<void> {
    const folder = join(this.#root, temporaryFolder)
    try {
      await mkdir(folder, { mode: folderMode })
    } catch (error) {
      if (isGone(error)) await this.#mustBeThere()
      if (systemCode(error) !== 'EEXIST') throw error
    }
    if (this.#swept) return
    this.#swept = true
    try {
      for (const name of await readdir(folder)) {
        const path = join(folder, name)
        const { mtimeMs } = await stat(path)
        if (Date.now() - mtimeMs > leftoverAgeMs) await unlink(path)
      }
    } catch (error) {
      // Leftovers cost space and do no harm; another account's may not be ours to remove.
      if (systemCode(error) === undefined) throw error
    }
  }

  /** Gives a written file its key. */
  async #publish(written: string, key: string, ifAbsent: boolean): Promise<void> {
    const path = join(this.#root, key)
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#makeFolders(key)
        if (!ifAbsent) {
          await renameDurably(written, path)
        } else if (!(await claimDurably(written, path))) {
          // The winner may not have come to its own sync yet, and who hears KEY_EXISTS may rely on the object.
          await syncFolder(dirname(path))
          throw new WalferryError('KEY_EXISTS', `${key} is already in ${this.url}`, { fields: { key } })
        }
        return
      } catch (error) {
        // Between two steps somebody may have deleted the last object in the folder, and with it the folder.
        if (systemCode(error) !== 'ENOENT' || attempt === publishAttempts) throw error
        await this.#mustBeThere()
        this.#durableFolders.delete(dirname(path))
      }
    }
  }

  /**
   * Makes the folders of a key, durably. Not kit's makeFolder: that would make the root, too, and takes a folder that
   * it finds for durable, though another writer may have made it and not have synced it yet.
   */
  async #makeFolders(key: string): Promise<void> {
    const folder = dirname(join(this.#root, key))
    if (this.#durableFolders.has(folder)) return
    const parents: string[] = []
    let at = this.#root
    for (const part of key.split('/').slice(0, -1)) {
      parents.push(at)
      at = join(at, part)
      await mkdir(at, { mode: folderMode }).catch((error: unknown) => {
        if (systemCode(error) !== 'EEXIST') throw error
      })
    }
    for (const parent of parents) await syncFolder(parent)
    // One folder per tail is made and deleted again: forgetting them all costs a few syncs, and no memory for ever.
    if (this.#durableFolders.size >= durableFoldersKept) this.#durableFolders.clear()
    this.#durableFolders.add(folder)
  }

  /** Makes the deletions in a folder durable. It is removed if it is empty, and so are its parents; never the root. */
  async #settle(folder: string): Promise<void> {
    let at = folder
    while (at !== this.#root) {
      try {
        await rmdir(at)
      } catch (error) {
        // Not empty, or not ours to remove: it stays, and an empty folder is no harm. If it is gone already, or just
        // now, then the entry that matters is in the folder above.
        if (!isGone(error) && (await syncIfThere(at))) return
      }
      this.#durableFolders.delete(at)
      at = dirname(at)
    }
    await syncFolder(at)
  }

  async #open(key: string): Promise<FileHandle> {
    try {
      return await open(join(this.#root, key), 'r')
    } catch (error) {
      if (!isGone(error)) throw error
      await this.#mustBeThere()
      throw this.#missing(key)
    }
  }

  async *#read(
    file: FileHandle,
    key: string,
    from: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      for (let at = from; at < end; ) {
        signal.throwIfAborted()
        const buffer = Buffer.allocUnsafe(Math.min(readBytes, end - at))
        const { bytesRead } = await this.#io(`read ${key}`, () => file.read(buffer, 0, buffer.length, at))
        if (bytesRead === 0) {
          throw new WalferryError('STORE_UNREACHABLE', `${key} in ${this.url} ends at byte ${at} of ${end}`, {
            retryable: true,
            hint: 'Somebody cut the file while it was read, or its disk has gone.',
            fields: { key, at, end },
          })
        }
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      await file.close()
    }
  }

  async #look(key: string): Promise<ObjectInfo | null> {
    try {
      const info = await stat(join(this.#root, key))
      return info.isFile() ? { key, bytes: info.size, modified: info.mtime } : null
    } catch (error) {
      if (!isGone(error)) throw error
      await this.#mustBeThere()
      return null
    }
  }

  /** Without the root nothing can be said about what is in it. */
  async #mustBeThere(): Promise<void> {
    const isThere = await stat(this.#root).then(
      (found) => found.isDirectory(),
      (error: unknown) => {
        if (isGone(error)) return false
        throw error
      },
    )
    if (isThere) return
    throw new WalferryError('STORE_UNREACHABLE', `the folder ${this.#root} is not there`, {
      retryable: true,
      hint: `Mount the disk that holds it; or, for a new archive, create it: mkdir -p ${this.#root}`,
      fields: { root: this.#root },
    })
  }

  #missing(key: string): WalferryError {
    return new WalferryError('KEY_MISSING', `${key} is not in ${this.url}`, { fields: { key } })
  }

  async #io<T>(doing: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw directoryError(error, doing, this.#root)
    }
  }
}

/** The next keys, fewer than `count` only at the end. */
async function takeFrom(keys: AsyncGenerator<string>, count: number): Promise<string[]> {
  const taken: string[] = []
  while (taken.length < count) {
    const next = await keys.next()
    if (next.done === true) break
    taken.push(next.value)
  }
  return taken
}

/** False if there was none. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}

/** False if the folder is not there any more. */
async function syncIfThere(folder: string): Promise<boolean> {
  try {
    await syncFolder(folder)
    return true
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}

/** Removes a file that nobody will look for again; if that fails, the next start does it. */
async function discard(path: string): Promise<void> {
  await unlink(path).catch(() => undefined)
}
