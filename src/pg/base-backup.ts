/**
 * One base backup on a replication connection, as a stream of events that is read only as fast as it is used up.
 *
 * The backup is one only when the stream has ended without an error: the server reports pages with wrong checksums after
 * everything else, in place of the command's completion.
 */
import { reasonOf } from '../kit/abort.ts'
import { Bell } from '../kit/bell.ts'
import { WalferryError } from '../kit/errors.ts'
import { type Lsn, parseLsn } from '../wal/lsn.ts'
import { type BackupEvent, type BackupPart, PlainCopies, TaggedCopy } from './backup-messages.ts'
import { need, onlyRow, protocolError, type Row, textOf } from './commands.ts'
import { Exchange, type ResultSet } from './exchange.ts'
import { serverError } from './server-errors.ts'
import type { Session } from './session.ts'

export interface BackupRequest {
  readonly label: string
  /** Whether the server makes its checkpoint at once, or spreads it over minutes. */
  readonly fast: boolean
  /** kB per second, 32 to 1048576; null for no limit. */
  readonly maxRate: number | null
  readonly verifyChecksums: boolean
}

/** Where the backup begins, and what it will hold. */
export interface BackupStart {
  readonly lsn: Lsn
  readonly timeline: number
  /** The main data directory is the last one. */
  readonly parts: readonly BackupPart[]
}

export interface BackupEnd {
  readonly lsn: Lsn
  readonly timeline: number
}

/** Bytes that may wait here; more arrives after a pause, some 300 kB. */
const fullBytes = 1024 * 1024
/** The server's messages, of 32 kB, are gathered: each event costs whoever takes it much more than copying. */
const gatheredBytes = 256 * 1024
/** A server that sends nothing for so long in the middle of its files is gone: it reads a block at a time. */
const silenceMs = 300_000

/** The command, in the two grammars (src/backend/replication/repl_gram.y). WAIT is off: who stores the WAL waits for it. */
export function backupCommand(majorVersion: number, request: BackupRequest): string {
  const label = `LABEL '${request.label.replaceAll("'", "''")}'`
  const { fast, maxRate, verifyChecksums } = request
  if (majorVersion < 15) {
    return [
      `BASE_BACKUP ${label} PROGRESS`,
      ...(fast ? ['FAST'] : []),
      'NOWAIT',
      ...(maxRate === null ? [] : [`MAX_RATE ${maxRate}`]),
      'TABLESPACE_MAP',
      ...(verifyChecksums ? [] : ['NOVERIFY_CHECKSUMS']),
      "MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'",
    ].join(' ')
  }
  const options = [
    label,
    'PROGRESS',
    `CHECKPOINT '${fast ? 'fast' : 'spread'}'`,
    'WAIT 0',
    ...(maxRate === null ? [] : [`MAX_RATE ${maxRate}`]),
    'TABLESPACE_MAP',
    ...(verifyChecksums ? [] : ['VERIFY_CHECKSUMS 0']),
    "MANIFEST 'yes'",
    "MANIFEST_CHECKSUMS 'CRC32C'",
  ]
  return `BASE_BACKUP (${options.join(', ')})`
}

/** Between its begin, which waits for the server's checkpoint, and its end. */
export class BaseBackup {
  readonly start: BackupStart
  /** Warnings of the server, such as which pages have wrong checksums. */
  readonly warnings: readonly string[]
  readonly #reader: Reader

  constructor(start: BackupStart, reader: Reader) {
    this.start = start
    this.warnings = reader.warnings
    this.#reader = reader
  }

  /** Where it ended. Throws before the events have. */
  get end(): BackupEnd {
    return this.#reader.end
  }

  /**
   * To be iterated once; the bytes of an event are gone when the next one is asked for. Whoever breaks off breaks the
   * connection. Throws what the server reports at the end, too.
   */
  events(signal: AbortSignal): AsyncGenerator<BackupEvent, void> {
    return this.#reader.events(signal)
  }
}

/** Resolves once the server has made its checkpoint and says where the backup starts. An abort breaks the connection. */
export async function startBaseBackup(
  session: Session,
  request: BackupRequest,
  signal: AbortSignal,
): Promise<BaseBackup> {
  const reader = new Reader(session)
  const start = await reader.begin(backupCommand(session.majorVersion, request), signal)
  return new BaseBackup(start, reader)
}

/** What waits: an event, or data that more may be added to. */
type Waiting =
  | Exclude<BackupEvent, { kind: 'data' }>
  | { readonly kind: 'data'; readonly memory: Buffer; bytes: number }

class Reader {
  readonly warnings: string[] = []
  readonly #session: Session
  readonly #news = new Bell()
  #exchange: Exchange | null = null
  #start: BackupStart | null = null
  readonly #waiting: Waiting[] = []
  /** Used again: memory that is made anew costs more than what is done with it. */
  readonly #free: Buffer[] = []
  #waitingBytes = 0
  #isPaused = false
  #state: 'running' | 'ended' | 'failed' = 'running'
  #failure: unknown = null

  constructor(session: Session) {
    this.#session = session
  }

  get end(): BackupEnd {
    const result = this.#exchange?.results[2]
    if (this.#state !== 'ended' || result === undefined) throw protocolError('the base backup has no end')
    return placeOf(onlyRow(result))
  }

  async begin(command: string, signal: AbortSignal): Promise<BackupStart> {
    const { client, connection, majorVersion } = this.#session
    const Copy = majorVersion < 15 ? PlainCopies : TaggedCopy
    const copies = new Copy(
      () => this.#readStart().parts,
      (event) => this.#take(event),
    )
    const exchange = new Exchange(command, null, copies)
    this.#exchange = exchange
    connection.on('notice', this.#notice)
    exchange.done
      .then(
        () => this.#settle('ended', null),
        (error: unknown) => this.#settle('failed', error),
      )
      .finally(() => connection.off('notice', this.#notice))
    client.query(exchange)
    await this.#untilNews(() => this.#start !== null, signal)
    return this.#readStart()
  }

  async *events(signal: AbortSignal): AsyncGenerator<BackupEvent, void> {
    try {
      for (;;) {
        const next = this.#waiting.shift()
        if (next?.kind === 'data') {
          this.#waitingBytes -= next.bytes
          // Before the last is taken: what the kernel holds meanwhile is there at once.
          if (this.#waitingBytes < fullBytes / 2) this.#goOn()
          yield { kind: 'data', bytes: next.memory.subarray(0, next.bytes) }
          this.#free.push(next.memory)
          continue
        }
        if (next !== undefined) {
          yield next
          continue
        }
        if (this.#state === 'ended') break
        await this.#untilNews(() => this.#waiting.length > 0, signal, silenceMs)
      }
      // Without its own result the command has not done what it was asked for.
      void this.end
    } finally {
      if (this.#state === 'running') this.#session.connection.cut(new Error('the base backup was given up'))
    }
  }

  readonly #notice = (message: { readonly message?: string }): void => {
    if (message.message !== undefined) this.warnings.push(message.message)
  }

  /** The two results before the first stream. */
  #readStart(): BackupStart {
    if (this.#start !== null) return this.#start
    const [place, parts] = this.#exchange?.results ?? []
    if (place === undefined || parts === undefined) throw protocolError('a base backup begins without a header')
    this.#start = { ...placeOf(onlyRow(place)), parts: rowsOf(parts).map(partOf) }
    this.#news.ring()
    return this.#start
  }

  #take(event: BackupEvent): void {
    if (event.kind === 'data') this.#gather(event.bytes)
    else this.#waiting.push(event)
    if (this.#waitingBytes > fullBytes && !this.#isPaused) {
      this.#isPaused = true
      this.#session.connection.pause()
    }
    this.#news.ring()
  }

  #gather(bytes: Buffer): void {
    this.#waitingBytes += bytes.length
    for (let at = 0; at < bytes.length; ) {
      let last = this.#waiting.at(-1)
      if (last?.kind !== 'data' || last.bytes === gatheredBytes) {
        last = { kind: 'data', memory: this.#free.pop() ?? Buffer.allocUnsafeSlow(gatheredBytes), bytes: 0 }
        this.#waiting.push(last)
      }
      const copied = bytes.copy(last.memory, last.bytes, at)
      last.bytes += copied
      at += copied
    }
  }

  #goOn(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#session.connection.resume()
  }

  #settle(state: 'ended' | 'failed', failure: unknown): void {
    this.#state = state
    this.#failure = failure
    this.#news.ring()
  }

  /** Waits until `isThere`, or until the command has ended. Throws what it failed with. */
  async #untilNews(isThere: () => boolean, signal: AbortSignal, limitMs?: number): Promise<void> {
    const onAbort = (): void => this.#session.connection.cut(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      while (!isThere()) {
        signal.throwIfAborted()
        if (this.#state === 'failed') throw this.#refusal()
        if (this.#state === 'ended') {
          if (this.#start === null) throw protocolError('a base backup ended without a header')
          return
        }
        const seen = this.#news.count
        await this.#news.after(seen, signal, limitMs)
        if (this.#news.count === seen) this.#session.connection.cut(silent())
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #refusal(): WalferryError {
    return backupRefusal(this.#failure, this.#session.host, this.warnings)
  }
}

const dataCorrupted = 'XX001'
/** Of a slot, elsewhere; here that a standby was promoted meanwhile, or replayed WAL without full pages. */
const notInPrerequisiteState = '55000'
const warningsShown = 3
const damagedHint =
  'Pages of the database are damaged on disk: restore them from an earlier backup. --no-verify-checksums takes a backup all the same.'

/** What it means that a base backup has failed with `error`, after `warnings`. */
export function backupRefusal(error: unknown, host: string, warnings: readonly string[]): WalferryError {
  const refusal = serverError(error, `take a base backup (${host})`)
  const { code, message, fields, cause } = refusal
  if (fields['sqlstate'] === dataCorrupted) {
    const text = [message, ...warnings.slice(0, warningsShown)].join('; ')
    return new WalferryError('PG_DAMAGED', text, { fields, cause, hint: damagedHint })
  }
  if (fields['sqlstate'] !== notInPrerequisiteState) return refusal
  // PostgreSQL's own hint says what to do.
  const hint = error instanceof Error && 'hint' in error && typeof error.hint === 'string' ? { hint: error.hint } : {}
  return new WalferryError(code, message, { fields, cause, ...hint })
}

function silent(): WalferryError {
  const message = `the server has sent nothing of its base backup for ${silenceMs / 1000} s`
  return new WalferryError('PG_CONNECTION_LOST', message, { retryable: true })
}

function placeOf(row: Row): { lsn: Lsn; timeline: number } {
  return { lsn: parseLsn(need(row, 'recptr')), timeline: Number(need(row, 'tli')) }
}

function rowsOf(result: ResultSet): Row[] {
  return result.rows.map((row) => Object.fromEntries(result.fields.map((field, i) => [field, row[i] ?? null])))
}

function partOf(row: Row): BackupPart {
  const oid = textOf(row, 'spcoid')
  if (oid !== null && !/^[1-9][0-9]{0,9}$/.test(oid)) throw protocolError(`a tablespace has the number "${oid}"`)
  return {
    oid,
    location: textOf(row, 'spclocation'),
    estimatedBytes: Number(textOf(row, 'size') ?? 0) * 1024,
  }
}
