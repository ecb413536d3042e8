/** What the syncer does next, decided from what it knows of its files: those that are not whole and durable yet, oldest first. */

/** All but the last file are full. */
interface Filled {
  readonly written: number
  readonly isFull: boolean
}

export interface Unsynced<T extends Filled> {
  readonly file: T
  /** Bytes from its beginning that a sync has made durable. */
  readonly synced: number
  readonly isSyncing: boolean
}

/** How much of a file is durable, and whether that is all of a whole segment. */
export interface Durable<T extends Filled> {
  readonly file: T
  readonly bytes: number
  readonly isWhole: boolean
}

/** So much of whole segments that is not synced is a backlog: commits bring less while one sync runs. */
const backlogBytes = 8 * 1024 * 1024

/**
 * The files whose sync is to begin now. A whole segment's begins at once, beside others. The open one's, for which commits
 * may wait, too; but in a backlog it would be synced in many parts, and while it is written to, for nobody.
 *
 * Never two of one file: where the disk fails, the system tells it to one of them, and the other one seems to have worked.
 */
export function dueOf<T extends Unsynced<Filled>>(files: readonly T[]): T[] {
  let wholeBytes = 0
  for (const { file, synced } of files) if (file.isFull) wholeBytes += file.written - synced
  const isBacklog = wholeBytes >= backlogBytes
  return files.filter(
    ({ file, synced, isSyncing }) => !isSyncing && file.written > synced && (file.isFull || !isBacklog),
  )
}

/** What is durable without a hole: whole segments, and what there is of the one behind them. */
export function durableOf<T extends Filled>(files: readonly Unsynced<T>[]): Durable<T>[] {
  const found: Durable<T>[] = []
  for (const { file, synced } of files) {
    const isWhole = file.isFull && synced === file.written
    if (synced > 0) found.push({ file, bytes: synced, isWhole })
    if (!isWhole) break
  }
  return found
}
