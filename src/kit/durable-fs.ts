/**
 * File moves that survive a power cut: a file's bytes are synced before it gets its name, and the folder is synced
 * after. A crash between two steps leaves the old state or a file under its temporary name, never a half file under
 * its final one.
 */
import { link, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { systemCode } from './errors.ts'

/** Makes the entries of a folder durable (names created, renamed or removed in it). */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Creates a folder and its missing parents, durably. */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  const full = resolve(path)
  const first = await mkdir(full, { recursive: true, ...(mode === undefined ? {} : { mode }) })
  if (first === undefined) {
    // Whoever made it may have crashed before it was synced.
    await syncFolder(dirname(full))
    return
  }
  // `first` is the topmost folder that was created: from there down to ours, each entry lies in its parent.
  for (let at = full; ; at = dirname(at)) {
    await syncFolder(dirname(at))
    if (at === first || at === dirname(at)) break
  }
}

/** Gives a file whose bytes are already synced its final name, replacing what was there. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to)
  await syncFolder(dirname(to))
  if (dirname(from) !== dirname(to)) await syncFolder(dirname(from))
}

/**
 * Gives a file whose bytes are already synced its final name, only if that name is free. The temporary name is gone
 * afterwards either way. Returns false if the name was taken.
 */
export async function claimDurably(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    await unlink(from)
    return false
  }
  await syncFolder(dirname(to))
  await unlink(from)
  return true
}
