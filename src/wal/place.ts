import type { Lsn } from './lsn.ts'

/** A place in the history: a position on a timeline. */
export interface Place {
  readonly timeline: number
  readonly lsn: Lsn
}
