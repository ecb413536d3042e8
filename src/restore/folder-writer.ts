/**
 * Writes the members of a backup's tar files into an empty data folder and the empty places of its tablespaces.
 *
 * Members are hostile until the server's manifest has vouched for them. So nothing is followed and nothing replaced:
 * every folder on the way is one that was made here, every file is new, and links are made at the end, to places that
 * are known from elsewhere.
 */
import { constants, type FileHandle, chmod, mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type BackupManifest, Checksum } from '../archive/backup-manifest.ts'
import { damaged } from '../archive/damaged.ts'
import type { Tablespace } from '../archive/sentinel.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { writeAll } from '../kit/write-all.ts'
import { refused } from './member-path.ts'
import type { Member, TakeMember } from './tar-members.ts'
import { controlPath, markName } from './unfinished.ts'

const mostControlBytes = 64 * 1024 // it has 8 kB in all versions

/** So large that a sync costs little beside the writing, and so small that the disk has work early and the last is short. */
const syncEachBytes = 32 * 1024 * 1024

// O_EXCL alone would do on Linux; both say it.
const createNew = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export interface Written {
  /** Where the file lies. */
  readonly at: string
  readonly bytes: number
  readonly mode: number
}

export class FolderWriter {
  readonly #folder: string
  readonly #places: ReadonlyMap<string, string>
  readonly #manifest: BackupManifest | null
  readonly #files = new Map<string, Written | null>()
  readonly #folders = new Map<string, Promise<void>>()
  #control: Buffer | null = null

  /** All places are there, and empty but for a mark. Without a manifest, checksums are the archive's to check. */
  constructor(folder: string, tablespaces: readonly Tablespace[], manifest: BackupManifest | null) {
    this.#folder = folder
    this.#places = new Map(tablespaces.map(({ oid, location }) => [oid, location]))
    this.#manifest = manifest
    for (const place of [folder, ...this.#places.values()]) this.#folders.set(place, Promise.resolve())
  }

  /** global/pg_control, which is not written here: without it no server starts. Null if it was in no object yet. */
  get control(): Buffer | null {
    return this.#control
  }

  /** What was written, by path as in the manifest; those that are being written have no place yet. */
  get files(): ReadonlyMap<string, Written | null> {
    return this.#files
  }

  /** All folders, those that were there among them. */
  get folders(): readonly string[] {
    return [...this.#folders.keys()]
  }

  /** Takes the members of the object that lies under `key`. Several objects may be taken at once. */
  taker(key: string): TakeMember {
    return async (member, content) => {
      try {
        await this.#take(key, member, content)
      } catch (error) {
        throw systemCode(error) === undefined || error instanceof WalferryError
          ? error
          : writeFailed(member.path, error)
      }
    }
  }

  /** Throws ARCHIVE_DAMAGED if something that the manifest lists was in none of the objects. */
  refuseMissing(key: string): void {
    if (this.#manifest === null) return
    const missing = [...this.#manifest.files.keys()].filter((path) => !this.#files.has(path))
    if (missing.length === 0) return
    const more = missing.length === 1 ? '' : `, and ${missing.length - 1} more`
    throw damaged(key, `lists ${JSON.stringify(missing[0])}${more}, which no part of the backup holds`)
  }

  async #take(key: string, member: Member, content: AsyncIterable<Uint8Array>): Promise<void> {
    const base = this.#baseOf(key, member)
    switch (member.kind) {
      case 'link': // made at the end
        return
      case 'folder':
        if (this.#files.has(member.path)) throw refused(key, member.path, 'is a folder and a file')
        await this.#makeFolder(key, join(base, member.within))
        // The top folders' modes are not the archive's to say.
        if (member.within !== '') await chmod(join(base, member.within), member.mode | 0o700)
        return
      case 'file':
        if (member.path === controlPath) return await this.#takeControl(key, member, content)
        if (this.#files.has(member.path)) throw refused(key, member.path, 'is there twice')
        this.#files.set(member.path, null)
        if (member.path === markName && this.#manifest !== null) return await this.#leaveOut(key, member, content)
        await this.#makeFolder(key, dirname(join(base, member.within)))
        await this.#write(key, member, join(base, member.within), content)
    }
  }

  #baseOf(key: string, { oid, path }: Member): string {
    if (oid === null) return this.#folder
    const place = this.#places.get(oid)
    if (place === undefined) throw refused(key, path, 'lies in a tablespace that the backup does not have')
    return place
  }

  /** Makes a folder and those above it, each once. All begin in a folder that was there. */
  #makeFolder(key: string, path: string): Promise<void> {
    const known = this.#folders.get(path)
    if (known !== undefined) return known
    const made = this.#makeFolder(key, dirname(path)).then(async () => {
      await mkdir(path, 0o700).catch((error: unknown) => {
        throw systemCode(error) === 'EEXIST' ? refused(key, path, 'is a folder and a file') : error
      })
    })
    this.#folders.set(path, made)
    return made
  }

  /** WAL-G has it in the parts of some backups, too. */
  async #takeControl(key: string, member: Member, content: AsyncIterable<Uint8Array>): Promise<void> {
    if (member.bytes > mostControlBytes) throw refused(key, member.path, `claims to hold ${member.bytes} bytes`)
    const check = this.#checkOf(key, member)
    const pieces: Uint8Array[] = []
    for await (const piece of content) {
      check.add(piece)
      pieces.push(Buffer.from(piece))
    }
    check.end()
    const control = Buffer.concat(pieces)
    if (this.#control?.equals(control) === false) throw refused(key, member.path, 'is there twice, and differs')
    await this.#makeFolder(key, join(this.#folder, dirname(controlPath)))
    this.#control = control
    this.#files.set(member.path, null)
  }

  /** The server was started in a restored folder whose mark a crash had left, and has sent it with its own files. */
  async #leaveOut(key: string, member: Member, content: AsyncIterable<Uint8Array>): Promise<void> {
    const check = this.#checkOf(key, member)
    for await (const piece of content) check.add(piece)
    check.end()
  }

  async #write(key: string, member: Member, at: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    const check = this.#checkOf(key, member)
    const mode = member.mode | 0o600
    const file = await open(at, createNew, mode).catch((error: unknown) => {
      throw systemCode(error) === 'EEXIST' ? refused(key, member.path, 'is there twice') : error
    })
    try {
      // Whatever the umask is.
      await file.chmod(mode)
      await copy(content, file, check)
    } finally {
      await file.close()
    }
    check.end()
    this.#files.set(member.path, { at, bytes: member.bytes, mode })
  }

  /** Holds a file against the manifest, while it is read. Throws ARCHIVE_DAMAGED, at once for a wrong size. */
  #checkOf(key: string, { path, bytes }: Member): { add(piece: Uint8Array): void; end(): void } {
    const listed = this.#manifest?.files.get(path)
    if (this.#manifest !== null && listed === undefined) {
      throw damaged(key, `holds ${JSON.stringify(path)}, which the server's manifest does not list`)
    }
    if (listed !== undefined && listed.bytes !== bytes) {
      throw damaged(key, `holds ${bytes} bytes of ${path}, and the server sent ${listed.bytes}`)
    }
    const checksum = listed?.checksum ?? null
    const sum = new Checksum(checksum?.algorithm ?? null)
    return {
      add: (piece) => sum.add(piece),
      end: () => {
        if (checksum === null || sum.hex() === checksum.hex) return
        throw damaged(key, `holds another ${path} than the server sent: its checksum is wrong`)
      },
    }
  }
}

/**
 * While the file takes a piece, it is summed up. What a large file has so far is synced while more of it comes, so that the
 * disk does not idle until all is synced at the end. Nothing is under way any more when it settles.
 */
async function copy(
  content: AsyncIterable<Uint8Array>,
  file: FileHandle,
  check: { add(piece: Uint8Array): void },
): Promise<void> {
  let writing = Promise.resolve()
  let syncing = Promise.resolve()
  let unsynced = 0
  try {
    for await (const piece of content) {
      writing = writeAll(file, piece)
      check.add(piece)
      await writing
      unsynced += piece.length
      if (unsynced < syncEachBytes) continue
      unsynced = 0
      // Its error counts: the kernel tells of a page that was lost only once.
      await syncing
      syncing = file.datasync()
      syncing.catch(() => undefined)
    }
  } finally {
    await Promise.allSettled([writing, syncing])
  }
  await syncing
}

/** The disk did not take it. */
export function writeFailed(what: string, cause: unknown): WalferryError {
  return new WalferryError('RESTORE_FAILED', `${what} could not be written`, {
    cause,
    hint: 'See to the space, the owner and the disk of the folder, then restore again with --force.',
  })
}
