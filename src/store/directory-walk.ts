/**
 * The keys below a folder in the order of their bytes.
 *
 * In that order the folder "a" stands where its entries "a/..." stand, which is behind the file "a.b" ("." is 0x2E,
 * "/" is 0x2F): so a folder is compared with the slash at its end. Of one folder at a time the names are held, and
 * nothing else; no folder is opened that cannot hold a key that is asked for.
 */
import type { Dir, Dirent } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../kit/errors.ts'
import { isKey } from './keys.ts'

export interface WalkRange {
  readonly prefix: string
  /** Only keys behind this one. */
  readonly after: string
}

/** Yields the keys of files. Throws system errors; a folder that is not there, or goes away meanwhile, is empty. */
export async function* walkKeys(root: string, range: WalkRange, signal: AbortSignal): AsyncGenerator<string> {
  yield* walkFolder(root, range.prefix.slice(0, range.prefix.lastIndexOf('/') + 1), range, signal)
}

/** `folder` is "" or ends with a slash. */
async function* walkFolder(
  root: string,
  folder: string,
  range: WalkRange,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for (const entry of await entriesOf(root, folder, range, signal)) {
    if (entry.endsWith('/')) yield* walkFolder(root, entry, range, signal)
    else yield entry
  }
}

async function entriesOf(root: string, folder: string, range: WalkRange, signal: AbortSignal): Promise<string[]> {
  const entries: string[] = []
  try {
    for await (const entry of await openFolder(join(root, folder))) {
      signal.throwIfAborted()
      const key = folder + entry.name
      if (!isKey(key)) continue
      const kind = await kindOf(entry, join(root, key))
      if (kind === 'folder' && mayHold(`${key}/`, range)) entries.push(`${key}/`)
      if (kind === 'file' && key.startsWith(range.prefix) && key > range.after) entries.push(key)
    }
  } catch (error) {
    if (!isGone(error)) throw error
  }
  return entries.sort()
}

function openFolder(path: string): Promise<Dir> {
  // 32 names at a time, the default, would cost a million files 30 000 trips to the thread pool.
  return opendir(path, { bufferSize: 1024 })
}

async function kindOf(entry: Dirent, path: string): Promise<'file' | 'folder' | 'neither'> {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'folder'
  if (!entry.isSymbolicLink()) return 'neither'
  try {
    const target = await stat(path)
    if (target.isFile()) return 'file'
    return target.isDirectory() ? 'folder' : 'neither'
  } catch (error) {
    if (isGone(error)) return 'neither'
    throw error
  }
}

/** Whether some key that begins with `folder` can be in the range. */
function mayHold(folder: string, range: WalkRange): boolean {
  const inPrefix = folder.startsWith(range.prefix) || range.prefix.startsWith(folder)
  // A key behind `folder` that does not begin with it is behind everything in it, too.
  return inPrefix && (range.after < folder || range.after.startsWith(folder))
}

/** True for the errors that say: no such file. */
export function isGone(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}
