/**
 * The keys below a folder in the order of their bytes.
 *
 * In that order the folder "a" stands where its entries "a/..." stand, which is behind the file "a.b" ("." is 0x2E,
 * "/" is 0x2F): so a folder is compared with the slash at its end. Of one folder at a time the names are held, and
 * nothing else; no folder is opened that cannot hold a key that is asked for.
 */
import type { Dirent } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../kit/errors.ts'
import { isKey } from './keys.ts'

export interface WalkRange {
  readonly prefix: string
  /** Only keys behind this one. */
  readonly after: string
  /** About how many keys the caller will take. Fewer names are sorted and held then; more may still be taken. */
  readonly limit: number
}

const namesAtOnce = 1024 // 32, the default, would cost a million files 30 000 trips to the thread pool; 16 384 is slower
const leastHeld = 1000

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
  const held = Math.max(range.limit, leastHeld)
  for (let from = ''; ; ) {
    const entries = await entriesOf(root, folder, from, held, range, signal)
    for (const entry of entries) {
      if (entry.endsWith('/')) yield* walkFolder(root, entry, range, signal)
      else yield entry
    }
    const last = entries.at(-1)
    if (last === undefined || entries.length < held) return
    from = last
  }
}

/** The first `held` entries of a folder behind the entry `from`, in order. */
async function entriesOf(
  root: string,
  folder: string,
  from: string,
  held: number,
  range: WalkRange,
  signal: AbortSignal,
): Promise<string[]> {
  const entries: string[] = []
  try {
    for await (const found of await opendir(join(root, folder), { bufferSize: namesAtOnce })) {
      signal.throwIfAborted()
      const entry = entryOf(folder, found) ?? (await linkedEntry(root, folder, found))
      if (entry === undefined || entry <= from || !mayHold(entry, range)) continue
      entries.push(entry)
      if (entries.length >= 2 * held) {
        entries.sort()
        entries.length = held
      }
    }
  } catch (error) {
    if (!isGone(error)) throw error
  }
  entries.sort()
  return entries.slice(0, held)
}

/** The key of a file, or that of a folder with its slash; undefined for a link, and for what has no key. */
function entryOf(folder: string, found: Dirent): string | undefined {
  if (found.isFile()) return asEntry(folder + found.name, '')
  return found.isDirectory() ? asEntry(folder + found.name, '/') : undefined
}

async function linkedEntry(root: string, folder: string, found: Dirent): Promise<string | undefined> {
  if (!found.isSymbolicLink()) return undefined
  try {
    const target = await stat(join(root, folder, found.name))
    if (target.isFile()) return asEntry(folder + found.name, '')
    return target.isDirectory() ? asEntry(folder + found.name, '/') : undefined
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

function asEntry(key: string, end: '' | '/'): string | undefined {
  return isKey(key) ? key + end : undefined
}

/** Whether a file is in the range, or a folder may hold what is. */
function mayHold(entry: string, range: WalkRange): boolean {
  const { prefix, after } = range
  if (!entry.endsWith('/')) return entry > after && entry.startsWith(prefix)
  // A key behind the folder that does not begin with it is behind everything in it, too.
  return (after < entry || after.startsWith(entry)) && (entry.startsWith(prefix) || prefix.startsWith(entry))
}

/** True for the errors that say: no such file. */
export function isGone(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}
