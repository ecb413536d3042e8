/**
 * One physical replication connection: the few commands that it knows (documentation, section "Streaming Replication
 * Protocol"), and the WAL stream. What servers really answer differs by version; the differences end here.
 */
import pg from 'pg'
import { isError, WalferryError } from '../kit/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../wal/lsn.ts'
import { isSegmentSize } from '../wal/segment.ts'
import { type BackupRequest, type BaseBackup, startBaseBackup } from './base-backup.ts'
import { askRow, need, onlyRow, protocolError, type Row, runCommand, show, textOf } from './commands.ts'
import { connect } from './connect.ts'
import { Exchange, type ResultSet } from './exchange.ts'
import { serverError } from './server-errors.ts'
import type { Session } from './session.ts'
import { readStanding } from './standing.ts'
import { encodeStatus, type StandbyStatus, StreamMessages, type WalListener } from './stream-messages.ts'
import type { Host, Target } from './target.ts'

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

export class ReplicationClient {
  /** Major version, such as 18. */
  readonly majorVersion: number
  /** Such as `18.1`. */
  readonly serverVersion: string
  /** The host that it is connected to, of those of the target: `a.example:5432`. */
  readonly host: string
  /** The same, as the entry of the target's hosts that it is. */
  readonly entry: Host
  /** `TLSv1.3`, or null for plain text. */
  readonly tlsVersion: string | null
  /** The target narrowed to the very server that it is connected to. */
  readonly target: Target
  readonly #session: Session

  private constructor(session: Session) {
    this.#session = session
    this.majorVersion = session.majorVersion
    this.serverVersion = session.serverVersion
    this.host = session.host
    this.entry = session.entry
    this.tlsVersion = session.tlsVersion
    this.target = session.target
  }

  /**
   * Connects to the first host of the target that will do. Throws PG_CONNECTION_LOST, PG_REFUSED, PG_PROTOCOL,
   * BAD_INPUT (unreadable certificate files).
   */
  static async connect(target: Target, signal: AbortSignal): Promise<ReplicationClient> {
    return new ReplicationClient(await connect(target, { replication: true }, signal))
  }

  async identify(signal: AbortSignal): Promise<ServerIdentity> {
    const row = await this.#row('IDENTIFY_SYSTEM', 'identify the server', signal)
    const sizeText = await this.show('wal_segment_size', signal)
    const segmentBytes = parseSize(sizeText)
    if (!isSegmentSize(segmentBytes)) throw protocolError(`wal_segment_size is "${sizeText}"`)
    return {
      systemIdentifier: BigInt(need(row, 'systemid')),
      timeline: Number(need(row, 'timeline')),
      flushedUpTo: parseLsn(need(row, 'xlogpos')),
      segmentBytes,
    }
  }

  /** The value of a setting, as the server writes it. */
  async show(setting: string, signal: AbortSignal): Promise<string> {
    return await show(this.#session, setting, signal)
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
    const type = textOf(row, 'slot_type')
    if (type === null) return { state: 'missing' }
    if (type !== 'physical') throw notPhysical(name)
    return slotFrom(textOf(row, 'restart_lsn'), textOf(row, 'restart_tli'))
  }

  /** Whether the server is in recovery (a standby), or null where it does not tell (see standing.ts). */
  async isInRecovery(signal: AbortSignal): Promise<boolean | null> {
    return (await readStanding(this.#session, signal)).inRecovery
  }

  /** The history file of a timeline, byte by byte, or null where the server has none (timeline 1 never has one). */
  async timelineHistory(timeline: number, signal: AbortSignal): Promise<Buffer | null> {
    try {
      const row = await this.#row(`TIMELINE_HISTORY ${timeline}`, `read the history of timeline ${timeline}`, signal)
      const content = row['content']
      if (content === undefined || content === null) throw protocolError('the field content is missing')
      return content
    } catch (error) {
      if (isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '58P01') return null
      throw error
    }
  }

  /** Creates a physical slot that keeps WAL from now on. */
  async createSlot(name: string, signal: AbortSignal): Promise<void> {
    const command = `CREATE_REPLICATION_SLOT ${quoted(name)} PHYSICAL RESERVE_WAL`
    await this.#run(command, `create the slot "${name}"`, signal)
  }

  /** The same, for as long as this connection lasts. */
  async createTemporarySlot(name: string, signal: AbortSignal): Promise<void> {
    const command = `CREATE_REPLICATION_SLOT ${quoted(name)} TEMPORARY PHYSICAL RESERVE_WAL`
    await this.#run(command, `create the temporary slot "${name}"`, signal)
  }

  async dropSlot(name: string, signal: AbortSignal): Promise<void> {
    await this.#run(`DROP_REPLICATION_SLOT ${quoted(name)}`, `drop the slot "${name}"`, signal)
  }

  /**
   * Lets the server discard what the slot keeps before `lsn`; the slot never moves backwards. True if it then stands
   * there or beyond. False where it cannot be moved: the server has not got that far or does not allow us an ordinary
   * connection, or the slot is missing or keeps nothing. Throws SLOT_IN_USE while somebody streams from it.
   */
  async advanceSlot(name: string, lsn: Lsn, signal: AbortSignal): Promise<boolean> {
    const to = `'${formatLsn(lsn)}'::pg_catalog.pg_lsn`
    const moved = `(SELECT end_lsn FROM pg_catalog.pg_replication_slot_advance(slot_name, ${to}))`
    const found = await this.#ask(
      `SELECT CASE WHEN restart_lsn >= ${to} THEN restart_lsn ELSE ${moved} END AS stands
       FROM pg_catalog.pg_replication_slots WHERE ${isSlot(name)} AND slot_type = 'physical'`,
      `advance the slot "${name}" to ${formatLsn(lsn)}`,
      signal,
    )
    if (found === null || found.rows.length === 0) return false
    return parseLsn(need(onlyRow(found), 'stands')) >= lsn
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
      throw shutdownOf(exchange) ?? serverError(error, `${doing} (${this.host})`)
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

  /** Begins a base backup: see base-backup.ts. Nothing else can be done on this connection until it has ended. */
  async baseBackup(request: BackupRequest, signal: AbortSignal): Promise<BaseBackup> {
    return await startBaseBackup(this.#session, request, signal)
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
    const found = await this.#ask(
      `SELECT slot_type, restart_lsn FROM pg_catalog.pg_replication_slots WHERE ${isSlot(name)}`,
      `read the slot "${name}"`,
      signal,
    )
    if (found === null) return { state: 'unreadable' }
    if (found.rows.length === 0) return { state: 'missing' }
    const row = onlyRow(found)
    if (textOf(row, 'slot_type') !== 'physical') throw notPhysical(name)
    return slotFrom(textOf(row, 'restart_lsn'), null)
  }

  /** One query on an ordinary connection to the same server, or null where the server does not allow us one. */
  async #ask(sql: string, doing: string, signal: AbortSignal): Promise<ResultSet | null> {
    try {
      const session = await connect(this.#session.target, { replication: false }, signal)
      try {
        return await runCommand(session, sql, doing, signal)
      } finally {
        await session.close()
      }
    } catch (error) {
      if (isError(error, 'PG_REFUSED')) return null
      throw error
    }
  }

  #row(command: string, doing: string, signal: AbortSignal): Promise<Row> {
    return askRow(this.#session, command, doing, signal)
  }

  async #run(command: string, doing: string, signal: AbortSignal): Promise<void> {
    await runCommand(this.#session, command, doing, signal)
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

function isSlot(name: string): string {
  return `slot_name = ${pg.escapeLiteral(name)}`
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

/** `90500ms`, `1min` -> milliseconds. */
export function parseDurationMs(text: string): number {
  return parseUnit(text, timeUnitsMs)
}

function parseUnit(text: string, units: Record<string, number>): number {
  const match = /^(\d+)([a-zA-Z]*)$/.exec(text)
  const factor = match?.[2] === '' ? 1 : units[match?.[2] ?? '']
  if (match === null || factor === undefined) throw protocolError(`"${text}" is no number with a unit`)
  return Number(match[1]) * factor
}
