/**
 * One physical replication connection: the few commands that it knows (documentation, section "Streaming Replication
 * Protocol"), and the WAL stream. What servers really answer differs by version; the differences end here.
 */
import pg from 'pg'
import { withDeadline } from '../kit/abort.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../wal/lsn.ts'
import { isSegmentSize } from '../wal/segment.ts'
import { connect, type Session } from './connect.ts'
import { Exchange, type ResultSet } from './exchange.ts'
import { serverError } from './server-errors.ts'
import { encodeStatus, type StandbyStatus, StreamMessages, type WalListener } from './stream-messages.ts'
import { describeTarget, type Target } from './target.ts'

export interface ServerIdentity {
  readonly systemIdentifier: bigint
  readonly timeline: number
  /** How far the server's own WAL is durable (on a standby: received or replayed). */
  readonly flushedUpTo: Lsn
  readonly segmentBytes: number
}

/** A physical slot as it stands. `unreserved`: it is there and keeps nothing. `unreadable`: could not be asked. */
export type SlotState =
  | { readonly state: 'missing' | 'unreserved' | 'unreadable' }
  | { readonly state: 'reserved'; readonly restartLsn: Lsn; readonly restartTimeline: number | null }

export type StreamEnd =
  /** We asked for it. */
  | { readonly kind: 'stopped' }
  /** The server's timeline ended; it went on as `timeline` at `startsAt`. */
  | { readonly kind: 'timeline-ended'; readonly timeline: number; readonly startsAt: Lsn }

/** The hands on a running stream. */
export interface WalStream {
  report(status: StandbyStatus): void
  /** Ends the stream politely: the server answers, and `stream` resolves with `stopped`. */
  stop(): void
  pause(): void
  resume(): void
}

/** A command, not a stream, that takes longer than this has met a hung server. */
const commandDeadlineMs = 30_000

export class ReplicationClient {
  /** Major version, such as 18. */
  readonly majorVersion: number
  readonly #target: Target
  readonly #session: Session

  private constructor(target: Target, session: Session) {
    this.#target = target
    this.#session = session
    this.majorVersion = session.majorVersion
  }

  /** Throws PG_CONNECTION_LOST, PG_REFUSED, BAD_INPUT (unreadable certificate files). */
  static async connect(target: Target, signal: AbortSignal): Promise<ReplicationClient> {
    return new ReplicationClient(target, await connect(target, { replication: true }, signal))
  }

  async identify(signal: AbortSignal): Promise<ServerIdentity> {
    const row = await this.#row('IDENTIFY_SYSTEM', 'identify the server', signal)
    const sizeText = await this.show('wal_segment_size', signal)
    const segmentBytes = parseSize(sizeText)
    if (!isSegmentSize(segmentBytes)) throw protocol(`wal_segment_size is "${sizeText}"`)
    return {
      systemIdentifier: BigInt(need(row, 'systemid')),
      timeline: Number(need(row, 'timeline')),
      flushedUpTo: parseLsn(need(row, 'xlogpos')),
      segmentBytes,
    }
  }

  /** The value of a setting, as the server writes it. */
  async show(setting: string, signal: AbortSignal): Promise<string> {
    return need(await this.#row(`SHOW ${setting}`, `read the setting ${setting}`, signal), setting)
  }

  /** Milliseconds of wal_sender_timeout; 0 means none. */
  async walSenderTimeoutMs(signal: AbortSignal): Promise<number> {
    return parseDurationMs(await this.show('wal_sender_timeout', signal))
  }

  /** Bytes of max_slot_wal_keep_size, or null for no limit. */
  async slotKeepBytes(signal: AbortSignal): Promise<number | null> {
    const text = await this.show('max_slot_wal_keep_size', signal)
    return text === '-1' ? null : parseSize(text)
  }

  /**
   * Before 15 there is no READ_REPLICATION_SLOT, and a replication connection takes no SQL: an ordinary connection is
   * asked, and the answer is `unreadable` where the server does not allow one.
   */
  async readSlot(name: string, signal: AbortSignal): Promise<SlotState> {
    if (this.majorVersion < 15) return await this.#readSlotBySql(name, signal)
    const row = await this.#row(`READ_REPLICATION_SLOT ${quoted(name)}`, `read the slot "${name}"`, signal)
    if (row['slot_type'] === null) return { state: 'missing' }
    if (row['slot_type'] !== 'physical') throw notPhysical(name)
    return slotFrom(row['restart_lsn'] ?? null, row['restart_tli'] ?? null)
  }

  /** Whether the server is in recovery (a standby), or null where it cannot be asked. */
  async isInRecovery(signal: AbortSignal): Promise<boolean | null> {
    const sql = 'SELECT pg_catalog.pg_is_in_recovery() AS answer'
    const found = await this.#ask(sql, 'ask whether the server is in recovery', signal)
    return found === null ? null : onlyRow(found)['answer'] === 't'
  }

  async timelineHistory(timeline: number, signal: AbortSignal): Promise<Buffer | null> {
    try {
      const row = await this.#row(`TIMELINE_HISTORY ${timeline}`, `read the history of timeline ${timeline}`, signal)
      return Buffer.from(need(row, 'content'))
    } catch (error) {
      if (isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '58P01') return null
      throw error
    }
  }

  /** Creates a physical slot that keeps WAL from now on. */
  async createSlot(name: string, signal: AbortSignal): Promise<void> {
    const command = `CREATE_REPLICATION_SLOT ${quoted(name)} PHYSICAL RESERVE_WAL`
    await this.#command(command, `create the slot "${name}"`, signal)
  }

  async dropSlot(name: string, signal: AbortSignal): Promise<void> {
    await this.#command(`DROP_REPLICATION_SLOT ${quoted(name)}`, `drop the slot "${name}"`, signal)
  }

  /**
   * Streams WAL from `start` on until it is stopped, the timeline ends, or the connection breaks (which rejects).
   * `onStart` gets the stream's hands before the first byte.
   */
  async stream(
    from: { readonly slot: string | null; readonly timeline: number; readonly start: Lsn },
    listener: WalListener,
    onStart: (stream: WalStream) => void,
  ): Promise<StreamEnd> {
    const { connection } = this.#session
    const slot = from.slot === null ? '' : `SLOT ${quoted(from.slot)} `
    const text = `START_REPLICATION ${slot}PHYSICAL ${formatLsn(from.start)} TIMELINE ${from.timeline}`
    const hands: WalStream = {
      report: (status) => connection.sendCopyData(encodeStatus(status, Date.now())),
      stop: () => exchange.stop(),
      pause: () => connection.pause(),
      resume: () => connection.resume(),
    }
    const sink = new StreamMessages(listener)
    const exchange = new Exchange(text, { sink, onStream: () => onStart(hands) })
    const doing = `stream WAL from ${formatLsn(from.start)} on timeline ${from.timeline}`
    try {
      this.#session.client.query(exchange)
      await exchange.done
    } catch (error) {
      throw shutdownOf(exchange) ?? this.#explain(error, doing)
    }
    const next = exchange.results.at(-1)
    if (next === undefined) return { kind: 'stopped' }
    const row = onlyRow(next)
    return {
      kind: 'timeline-ended',
      timeline: Number(need(row, 'next_tli')),
      startsAt: parseLsn(need(row, 'next_tli_startpos')),
    }
  }

  /** Breaks the connection at once; what is under way rejects with this error. */
  cut(error: Error): void {
    this.#session.connection.cut(error)
  }

  /** Ends the connection; never rejects. */
  async close(): Promise<void> {
    await this.#session.close()
  }

  async #readSlotBySql(name: string, signal: AbortSignal): Promise<SlotState> {
    const where = `slot_name = ${pg.escapeLiteral(name)}`
    const found = await this.#ask(
      `SELECT slot_type, restart_lsn FROM pg_catalog.pg_replication_slots WHERE ${where}`,
      `read the slot "${name}"`,
      signal,
    )
    if (found === null) return { state: 'unreadable' }
    if (found.rows.length === 0) return { state: 'missing' }
    const row = onlyRow(found)
    if (row['slot_type'] !== 'physical') throw notPhysical(name)
    return slotFrom(row['restart_lsn'] ?? null, null)
  }

  /** One query on an ordinary connection, or null where the server does not allow us one. */
  async #ask(sql: string, doing: string, signal: AbortSignal): Promise<ResultSet | null> {
    try {
      const session = await connect(this.#target, { replication: false }, signal)
      try {
        return (await this.#runOn(session, sql, doing, signal)).results[0] ?? null
      } finally {
        await session.close()
      }
    } catch (error) {
      if (isError(error, 'PG_REFUSED')) return null
      throw error
    }
  }

  async #row(command: string, doing: string, signal: AbortSignal): Promise<Record<string, string | null>> {
    const [result] = (await this.#command(command, doing, signal)).results
    if (result === undefined) throw protocol(`${command} answered no row`)
    return onlyRow(result)
  }

  #command(text: string, doing: string, signal: AbortSignal): Promise<Exchange> {
    return this.#runOn(this.#session, text, doing, signal)
  }

  async #runOn(session: Session, text: string, doing: string, signal: AbortSignal): Promise<Exchange> {
    const exchange = new Exchange(text)
    const onAbort = (): void => session.connection.cut(new Error('given up'))
    const late = (): Error =>
      new WalferryError('PG_CONNECTION_LOST', `cannot ${doing}: no answer within ${commandDeadlineMs / 1000} s`, {
        retryable: true,
      })
    return await withDeadline(commandDeadlineMs, signal, late, async (inner) => {
      inner.addEventListener('abort', onAbort, { once: true })
      try {
        session.client.query(exchange)
        return await exchange.done
      } catch (error) {
        throw this.#explain(error, doing)
      } finally {
        inner.removeEventListener('abort', onAbort)
      }
    })
  }

  #explain(error: unknown, doing: string): WalferryError {
    return serverError(error, `${doing} (${describeTarget(this.#target)})`)
  }
}

/** A walsender that shuts down sends CommandComplete `COPY 0` and closes, with neither CopyDone nor ReadyForQuery. */
function shutdownOf(exchange: Exchange): WalferryError | null {
  if (!exchange.tags.includes('COPY 0')) return null
  return new WalferryError('PG_CONNECTION_LOST', 'the server is shutting down', { retryable: true })
}

function slotFrom(restartLsn: string | null, restartTimeline: string | null): SlotState {
  if (restartLsn === null) return { state: 'unreserved' }
  const timeline = restartTimeline === null ? null : Number(restartTimeline)
  return { state: 'reserved', restartLsn: parseLsn(restartLsn), restartTimeline: timeline }
}

function notPhysical(name: string): WalferryError {
  return new WalferryError('PG_REFUSED', `the slot "${name}" is not a physical one`, { hint: 'Choose another --slot.' })
}

function onlyRow(result: ResultSet): Record<string, string | null> {
  const [row] = result.rows
  if (row === undefined || result.rows.length !== 1) throw protocol(`${result.rows.length} rows came where one was due`)
  return Object.fromEntries(result.fields.map((field, i) => [field, row[i] ?? null]))
}

function need(row: Record<string, string | null>, field: string): string {
  const value = row[field]
  if (value === null || value === undefined) throw protocol(`the field ${field} is missing`)
  return value
}

function protocol(message: string): WalferryError {
  return new WalferryError('PG_PROTOCOL', `the server's answer cannot be used: ${message}`)
}

/** An identifier of the replication grammar (src/backend/replication/repl_scanner.l). */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

const sizeUnits: Record<string, number> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 }
const timeUnitsMs: Record<string, number> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** `16MB` -> 16777216. A setting's largest fitting unit (documentation, "Parameter Names and Values"). */
function parseSize(text: string): number {
  return parseUnit(text, sizeUnits)
}

function parseDurationMs(text: string): number {
  return parseUnit(text, timeUnitsMs)
}

function parseUnit(text: string, units: Record<string, number>): number {
  const match = /^(\d+)([a-zA-Z]*)$/.exec(text)
  const factor = match?.[2] === '' ? 1 : units[match?.[2] ?? '']
  if (match === null || factor === undefined) throw protocol(`"${text}" is no number with a unit`)
  return Number(match[1]) * factor
}
