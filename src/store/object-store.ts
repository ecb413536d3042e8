import type { ConditionalPut } from './conditional-put.ts'

/**
 * What walferry needs of a store, and what a store promises. Knows nothing of WAL.
 *
 * A key is a relative path of parts joined by "/": letters, digits and `._-`, no empty part, no `.` or `..`.
 * Example: `wal_005/00000001000000000000002A.lz4`. A store refuses any other key with BAD_INPUT (keys.ts). A key is
 * never also a folder of other keys: who stores `a/b` does not store `a`.
 *
 * Every method makes one attempt: retrying is the caller's, who knows how long to wait. Every attempt ends in bounded
 * time. Every rejection is a WalferryError: KEY_EXISTS, KEY_MISSING, STORE_UNREACHABLE (retryable), STORE_DENIED,
 * STORE_FAILED, BAD_INPUT; or the signal's reason after an abort.
 */
export interface ObjectStore {
  /** Where it is, for messages: `s3://bucket/prefix` or an absolute path. Holds no secret. */
  readonly url: string

  /** What is known so far of puts with `ifAbsent`. Where they are not honoured, `put` looks first, and two may meet. */
  readonly conditionalPut: ConditionalPut | 'unknown'

  /**
   * Stores an object. Resolves only once it is durable, whole and visible to every reader; if it rejects, a reader sees
   * the old state or the whole new object (an answer can be lost on its way), never a part of it.
   * With `ifAbsent`, rejects KEY_EXISTS if the key is taken, and changes nothing. Of two such calls at once one wins,
   * unless the store cannot tell them apart (`conditionalPut`).
   * An iterable is read once, with bounded memory, and a piece is used up before the next one is asked for; when it
   * throws, nothing is stored and its error is thrown on.
   */
  put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void>

  /**
   * Opens an object for reading, from byte `from` on; at or past its end there are no bytes. Rejects KEY_MISSING. The
   * iteration throws STORE_UNREACHABLE if the bytes stop before the object's end: what was iterated without an error is
   * the whole object. Must be iterated, be it only to break off: until then it holds a file or a connection.
   */
  get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>>

  /** Looks whether an object is there. Resolves null only if the store has said that it is not. */
  head(key: string, options: CallOptions): Promise<ObjectInfo | null>

  /**
   * Those of the keys `beginning + end` that are there, in the order of `ends`; few other keys begin like that. One
   * round trip, and its cost does not grow with the store. Resolves only if the store has said of each whether it is
   * there.
   */
  findAmong(beginning: string, ends: readonly string[], options: CallOptions): Promise<ObjectInfo[]>

  /**
   * Objects whose key begins with `prefix`, in the order of the keys' bytes, after the key `after`, at most `limit`.
   * What lies in the store under a name that is no key is passed over. Ends without an error only if the store has said
   * that there are no more; objects stored or deleted meanwhile may appear or not.
   */
  list(options: ListOptions): AsyncIterable<ObjectInfo>

  /** Deletes objects, any number of them. A missing one is no error. Resolves once all are gone. */
  deleteMany(keys: readonly string[], options: CallOptions): Promise<void>

  /** Releases sockets and timers. Calls that are under way may reject. */
  close(): void
}

export interface CallOptions {
  readonly signal: AbortSignal
}

export interface PutOptions extends CallOptions {
  readonly ifAbsent: boolean
  /** For a long iterable: see LongPut. Default: one attempt, as everywhere, with one piece at a time. */
  readonly long?: LongPut
}

/**
 * How an iterable is put that took long to make and that nobody can read again. A store that takes an object in pieces
 * sends some of them at once, and sends one again that failed: the only thing that a store retries.
 */
export interface LongPut {
  readonly piecesAtOnce: number
  readonly retryForMs: number
}

export interface GetOptions extends CallOptions {
  readonly from?: number
}

export interface ListOptions extends CallOptions {
  readonly prefix: string
  readonly after?: string
  readonly limit?: number
}

export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
  readonly modified: Date
}
