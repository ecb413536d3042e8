/** What is asked of `fetch`, and what it can answer. Everything else is an error, which stops the server. */
import type { Archive } from '../archive/archive.ts'
import type { WalferryError } from '../kit/errors.ts'

export interface FetchRequest {
  readonly archive: Archive
  /** What PostgreSQL asks for, %f: a segment's name, or a history file's. */
  readonly name: string
  /** Where it wants it, %p. */
  readonly dest: string
  /** The server is a standby: it asks again for ever, so that "absent" ends nothing. */
  readonly standby: boolean
  /** Serve tails, too. Without, a recovery has whole segments only. */
  readonly tails: boolean
  /** Take a hole for the end of the archive. */
  readonly endAtHole: boolean
  /** Do not mind receivers that hold WAL which the archive has not yet. */
  readonly ignoreBacklog: boolean
  /** How long to try again while the store does not answer, or while WAL is missing that is needed. */
  readonly retryForMs: number
  /** Called before each new attempt. */
  readonly onRetry: (error: WalferryError) => void
  /** Called when `retryForMs` have gone by and the answer still has to wait: a person has to act. */
  readonly onStuck: (error: WalferryError) => void
}

export type FetchAnswer =
  | { readonly answer: 'served'; readonly what: string }
  /** Proved: the archive does not have it, and has nothing that needs it. Or what needs it is given up, which is told. */
  | { readonly answer: 'absent'; readonly why: string; readonly gaveUp?: true }
