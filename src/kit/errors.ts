/**
 * The one error class, and the one list of codes.
 *
 * A code is stable: scripts and alerts may match on it. `errorCodes` is its documentation; the README's table is held
 * against it by a test.
 */

export const errorCodes = {
  ARCHIVE_BACKLOG: 'a receiver still holds WAL that the archive has not',
  ARCHIVE_CONFLICT: 'the archive holds other content where equal content was expected',
  ARCHIVE_DAMAGED: 'an object of the archive is cut, altered or not what its name says',
  ARCHIVE_FOREIGN: 'the archive belongs to another cluster, or is no archive',
  ARCHIVE_HOLE: 'WAL is missing in the archive that later WAL needs',
  ARCHIVE_LOST_BRANCH: 'the first WAL of a timeline is missing, and its parent went on behind the fork',
  BACKUP_MISSING: 'there is no base backup of that name, or none that can be restored',
  BACKUP_PERMANENT: 'the base backup is marked as permanent',
  BACKUP_TAKEN: 'the name of the base backup is taken, by a whole one or by one that was begun',
  BACKUP_WITHOUT_WAL: 'WAL that the base backup needs has not come into the archive',
  BAD_INPUT: 'an option, a name or an argument cannot be used',
  CLUSTER_FAILED: 'a throw-away PostgreSQL server could not be set up, started or stopped',
  ENCRYPTION_KEY: 'the key is missing, another one than that of the archive, or given where nothing is encrypted',
  KEY_EXISTS: 'an object of that key is already in the store',
  KEY_MISSING: 'no object of that key is in the store',
  PG_CONNECTION_LOST: 'the connection to PostgreSQL ended or could not be made',
  PG_DAMAGED: 'PostgreSQL found damaged pages in its data',
  PG_PROTOCOL: 'PostgreSQL sent something that the replication protocol does not allow',
  PG_REFUSED: 'PostgreSQL refused a command',
  RECEIVER_FOREIGN: 'what answers on the address of the receiver is none, or one of another version',
  RECEIVER_UNREACHABLE: 'no receiver answers, and no archive is named that could be asked instead',
  RESTORE_FAILED: 'the folder of a restored database could not be written',
  SERVER_BEHIND: 'the server is in recovery and has not reached our position yet',
  SERVER_FOREIGN: 'the server has another system identifier or segment size than the spool or the archive',
  SERVER_LOST_WAL: 'the server no longer has WAL that it had sent before',
  SERVER_TIMELINE: 'the server is on a timeline that does not follow what is here',
  SLOT_IN_USE: 'another receiver streams from the slot',
  SLOT_MISSING: 'the slot is not there, and may not be created',
  SPOOL_CONFLICT: 'the server streams other bytes than the spool already holds',
  SPOOL_FAILED: 'the spool could not be read, written or synced',
  SPOOL_IN_USE: 'another receiver uses the spool',
  STORE_DENIED: 'the store refused the credentials or the permission',
  STORE_FAILED: 'the store answered in a way that a retry will not mend',
  STORE_UNREACHABLE: 'the store could not be reached, or did not answer in time',
  TARGET_UNREACHABLE: 'the archive cannot bring a database to the recovery target',
  THREAD_FAILED:
    'the thread that compresses and decompresses ended, could not begin, or is of another version than the program that started it',
  TIMELINE_AMBIGUOUS: 'more than one timeline of the archive may be the newest',
  WAL_DAMAGED: 'a WAL file of the server is cut, altered or not what its name says',
  WAL_REMOVED: 'the server has removed WAL that was not received yet',
} as const

export type ErrorCode = keyof typeof errorCodes

export interface ErrorDetails {
  /** What the operator can do next, as a sentence. */
  readonly hint?: string
  /** The operands: names, positions, sizes. Never a secret. */
  readonly fields?: Readonly<Record<string, unknown>>
  /** True if the same call may succeed later with nobody's help. Default false. */
  readonly retryable?: boolean
  readonly cause?: unknown
}

export class WalferryError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'WalferryError'
    this.code = code
    this.hint = details.hint
    this.fields = details.fields ?? {}
    this.retryable = details.retryable ?? false
  }
}

/** True if `error` is a WalferryError with one of `codes` (any code where none is given). */
export function isError(error: unknown, ...codes: readonly ErrorCode[]): error is WalferryError {
  return error instanceof WalferryError && (codes.length === 0 || codes.includes(error.code))
}

/** The code of a Node.js system error such as ENOENT, else undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** A short text for logs: the message, and those of the causes below it. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.message === '' ? (systemCode(error) ?? error.name) : error.message
  if (error.cause === undefined || error.cause === null) return own
  const below = describe(error.cause)
  return own.includes(below) ? own : `${own}: ${below}`
}
