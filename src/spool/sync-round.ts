/** A file that a segment is written to. */
interface Filled {
  readonly written: number
  readonly isFull: boolean
}

/** A file, and how much of it a round of the syncer makes durable. */
export interface Synced<T extends Filled> {
  readonly file: T
  readonly written: number
  readonly full: boolean
}

/** So much of whole segments in one round is a backlog. */
const backlogBytes = 32 * 1024 * 1024

/**
 * What the next round makes durable, of the files that are not yet, oldest first: all but the last are full. In a backlog,
 * the one that is being filled waits for the next round: it is mostly full by then, and is not synced in parts, nor while it
 * is written to.
 */
export function roundOf<T extends Filled>(files: readonly T[], segmentBytes: number): Synced<T>[] {
  const all = files.map((file) => ({ file, written: file.written, full: file.isFull }))
  const whole = all.filter(({ full }) => full)
  return whole.length * segmentBytes < backlogBytes ? all : whole
}
