/**
 * Receives for as long as it may: connects, finds where to start, streams, and connects again.
 *
 *     connecting -> streaming -> waiting -> connecting ...        until stopped
 *                -> halted                                        something that only a person can decide
 *
 * The first retry comes at once, later ones after at most 5 s. Of several hosts, one whose server turns out to be an old
 * primary, or behind us, is passed over at once for the next one, until all were tried.
 */
import type { Run } from '../archive/coverage.ts'
import { sleep } from '../kit/abort.ts'
import { systemClock } from '../kit/clock.ts'
import { describe, type ErrorCode, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'
import { ReplicationClient, type ServerIdentity, type SlotState, type StreamEnd } from '../pg/replication-client.ts'
import { describeHost, type Host, type Target } from '../pg/target.ts'
import type { Positions } from '../spool/positions.ts'
import type { Spool } from '../spool/spool.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { earlierOf, formatLsn, type Lsn } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { Ack } from './ack.ts'
import { fetchFromOthers } from './detour.ts'
import { learnLine } from './learn-line.ts'
import type { Streamed } from './other-hosts.ts'
import { ensureSlot, isInvalidated, tryForSlot } from './slot.ts'
import { type Gap, resumeFrom, type Start } from './start.ts'
import { streamInto, type StreamOptions } from './stream.ts'

export type ReceiverState = 'connecting' | 'streaming' | 'waiting' | 'halted' | 'stopped'

export interface ReceiverOptions {
  readonly target: Target
  readonly slot: string
  readonly positions: Positions
  readonly statusIntervalMs: number
  readonly endpos: Lsn | null
  /** False: the first lost connection is the end, as an error. */
  readonly loop: boolean
  readonly log: Log
  /** Called with each server that was connected to. Throws for one that is not ours. */
  readonly accept: (server: ServerIdentity) => void
  /**
   * Says from where to stream; waits where it cannot know yet. `others`: another receiver may have shipped since the
   * last time. Rejects where the archive is not ours.
   */
  readonly meet: (server: ServerIdentity, others: boolean, signal: AbortSignal) => Promise<Meeting>
  /** Makes a note of WAL that is lost, durably. */
  readonly recordGap: (gap: Gap, signal: AbortSignal) => Promise<void>
  readonly ack: 'spool' | 'store'
  readonly ackStoreTimeoutMs: number
  /** Whether to go on behind WAL that is lost, or to halt. */
  readonly onGap: 'continue' | 'halt'
  /** Never create the slot. */
  readonly requireSlot: boolean
  readonly onReceived: (bytes: number) => void
  readonly onReconnect: (reason: ErrorCode | 'OTHER') => void
  /** The stream goes on on another timeline than the one before. */
  readonly onTimelineSwitch: () => void
}

/** A server that was streamed from. */
export interface MetServer {
  /** `a.example:5432`. */
  readonly host: string
  /** Such as `18.1`. */
  readonly version: string
  readonly systemIdentifier: bigint
  readonly timeline: number
  /** Narrowed to this very server. */
  readonly target: Target
}

/** Into which spool to stream, and from where. */
export interface Meeting {
  readonly spool: Spool
  /** The archive was asked just now, and has answered. */
  readonly sure: boolean
  /** How far spool and archive reach, for a server of that line. What the archive alone has is in the spool then. */
  readonly furthestFor: (line: TimelineHistory, signal: AbortSignal) => Promise<Furthest>
}

/** W. */
export interface Furthest {
  /** Null if there is nothing. */
  readonly place: Place | null
  /** The history of its timeline, where spool or archive have it. */
  readonly line: TimelineHistory | null
  /** WAL of its timeline that the archive has behind a hole; null where it has no hole. */
  readonly stored: Run | null
}

/** What a start goes by: what is here, and the history of the server's timeline. */
interface Here {
  readonly spool: Spool
  readonly line: TimelineHistory
  readonly furthest: Furthest
}

/** Errors that no retry may mend: going on would lose or mix up WAL. */
const halting: readonly ErrorCode[] = [
  'ARCHIVE_CONFLICT',
  'ARCHIVE_FOREIGN',
  'ENCRYPTION_KEY',
  'SERVER_FOREIGN',
  'SERVER_LOST_WAL',
  'SPOOL_CONFLICT',
]
const backoff: Backoff = { firstMs: 100, maxMs: 5000 }
/** wal_receiver_timeout's default: a server that says nothing for so long, also when asked, is gone. */
const silenceMs = 60_000

export class Receiver {
  readonly #options: ReceiverOptions
  #state: ReceiverState = 'connecting'
  #problem: WalferryError | null = null
  /** What was synced when the spool broke the last stream: the next one has to come further before all is well. */
  #stuckAt: Lsn | null = null
  /** In a row, without a stream between them that lasted. */
  #failures = 0
  #streamingSinceMs: number | null = null
  /** False until a stream from the slot has begun, and again once somebody else may have had the slot. */
  #slotWasOurs = false
  /** What is known of the archive is as of this session. */
  #sure = false
  /** The start from which nothing came yet, and those whose WAL the server has said is gone since a stream last brought any. */
  #lastStart: Start | null = null
  #removed: Place[] = []
  /** The host of the newest session, and those that were passed over since the last pause or stream. */
  #host: Host | null = null
  readonly #passedOver = new Set<Host>()
  #streamed: Streamed | null = null
  #met: MetServer | null = null
  /** The server does not let us use the slot any more. */
  #slotIsLost = false

  constructor(options: ReceiverOptions) {
    this.#options = options
  }

  get state(): ReceiverState {
    return this.#state
  }

  /** The timeline that was streamed last; 0 before the first stream. */
  get timeline(): number {
    return this.#met?.timeline ?? 0
  }

  /** The server that is, or was last, streamed from; null before the first stream. */
  get met(): MetServer | null {
    return this.#met
  }

  /** Why WAL does not flow at the moment, or null. */
  get problem(): WalferryError | null {
    const isOver = this.#state === 'streaming' && this.#options.positions.synced !== this.#stuckAt
    return isOver ? null : this.#problem
  }

  /** The server that is streamed from at the moment, or null. */
  get streamed(): Streamed | null {
    return this.#streamed
  }

  /**
   * Receives until `endpos` is received or `signal` aborts; resolves then, with everything received synced. Rejects
   * with what halted it, or without `loop` with whatever ended the stream.
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        this.#state = 'connecting'
        try {
          await this.#session(signal)
          break
        } catch (error) {
          if (signal.aborted || this.#lostAtEndpos(error)) break
          await this.#afterFailure(error, signal)
        }
      }
      this.#state = 'stopped'
    } catch (error) {
      this.#state = signal.aborted ? 'stopped' : 'halted'
      if (!signal.aborted) throw error
    }
  }

  /** Everything that was asked for is durable here: that the server did not say goodbye changes nothing. */
  #lostAtEndpos(error: unknown): boolean {
    const { endpos, positions } = this.#options
    const isThere = this.#state === 'streaming' && endpos !== null && positions.synced >= endpos
    return isThere && isError(error, 'PG_CONNECTION_LOST')
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { target } = this.#options
    const hosts = target.hosts.filter((host) => !this.#passedOver.has(host))
    const client = await ReplicationClient.connect({ ...target, hosts }, signal)
    if (client.entry !== this.#host) {
      // What one server has removed, another may still have, with a slot that keeps it.
      this.#removed = []
      this.#slotIsLost = false
    }
    this.#host = client.entry
    try {
      for (let reached = 0; ; ) {
        const server = await client.identify(signal)
        if (server.timeline < reached) {
          const message = `the server does not say yet that timeline ${reached} has begun`
          throw new WalferryError('SERVER_BEHIND', message, { retryable: true })
        }
        this.#options.accept(server)
        if (!this.#slotWasOurs)
          await tryForSlot(client, this.#options.slot, server, signal).catch((error) => this.#noteLostSlot(error))
        const end = await this.#streamOnce(client, server, signal)
        if (end.kind === 'stopped') return
        this.#options.log.info(`the timeline ended; the server went on as timeline ${end.timeline}`, {
          at: formatLsn(end.startsAt),
        })
        reached = end.timeline
      }
    } finally {
      this.#streamed = null
      await client.close()
    }
  }

  /** Streams until the timeline ends, or everything does. */
  async #streamOnce(client: ReplicationClient, server: ServerIdentity, signal: AbortSignal): Promise<StreamEnd> {
    const meeting = await this.#options.meet(server, !this.#slotWasOurs, signal)
    const { spool } = meeting
    this.#sure = meeting.sure
    const line = await learnLine(client, server, spool, signal)
    const furthest = await meeting.furthestFor(line, signal)
    const start = await this.#findStart(client, server, { spool, line, furthest }, signal)
    this.#lastStart = start
    const onStreaming = (): void => {
      // What was on its way to the disk when the spool failed may have become durable since.
      if (this.#stuckAt !== null) this.#stuckAt = this.#options.positions.synced
      this.#state = 'streaming'
      this.#streamingSinceMs = performance.now()
      if (this.#met !== null && this.#met.timeline !== start.timeline) this.#options.onTimelineSwitch()
      const { host, serverVersion: version, target } = client
      this.#met = { host, version, systemIdentifier: server.systemIdentifier, timeline: start.timeline, target }
      this.#slotWasOurs = true
      this.#passedOver.clear()
      this.#streamed = { host: client.entry, server, line }
    }
    const { slot, endpos } = this.#options
    const streaming = this.#stream(client, spool, { start, slot, endpos, onStreaming }, signal)
    return await streaming.catch((error: unknown) => {
      throw isError(error, 'WAL_REMOVED') ? this.#noteRemoved(error) : error
    })
  }

  /** Streams into the spool, with everything that any stream of ours does. */
  async #stream(
    client: ReplicationClient,
    spool: Spool,
    what: Pick<StreamOptions, 'start' | 'slot' | 'endpos' | 'onStreaming'>,
    signal: AbortSignal,
  ): Promise<StreamEnd> {
    const { positions, log, ack, ackStoreTimeoutMs } = this.#options
    const { start, slot } = what
    const senderTimeoutMs = await client.walSenderTimeoutMs(signal)
    positions.startAt(start.lsn, start.lsn)
    const options: StreamOptions = {
      ...what,
      client,
      spool,
      positions,
      ack: new Ack({ ack, timeoutMs: ackStoreTimeoutMs, positions, clock: systemClock, log }),
      statusIntervalMs: Math.min(
        this.#options.statusIntervalMs,
        senderTimeoutMs === 0 ? Infinity : senderTimeoutMs / 3,
        ack === 'store' ? ackStoreTimeoutMs / 3 : Infinity,
      ),
      silenceMs,
      onReceived: (bytes) => {
        this.#lastStart = null
        this.#removed = []
        this.#options.onReceived(bytes)
      },
      onStreaming: () => {
        what.onStreaming()
        log.info('streaming', {
          server: client.host,
          version: client.majorVersion,
          timeline: start.timeline,
          start: formatLsn(start.lsn),
          slot: slot ?? 'none',
        })
      },
    }
    return await streamInto(options, signal)
  }

  /**
   * The server says that WAL is gone. If that is what the stream began with, the next start looks for another way;
   * behind a fork it is normal: a promoted standby removes the segments of the old timeline that it does not need.
   */
  #noteRemoved(error: WalferryError): WalferryError {
    const start = this.#lastStart
    if (start !== null) this.#removed.push({ timeline: start.timeline, lsn: start.lsn })
    return new WalferryError('WAL_REMOVED', error.message, { fields: error.fields, retryable: true })
  }

  async #findStart(client: ReplicationClient, met: ServerIdentity, here: Here, signal: AbortSignal): Promise<Start> {
    const { log, slot: name } = this.#options
    const { line } = here
    const { place: furthest, line: furthestLine, stored } = here.furthest
    const slot = await this.#ensureSlot(client, furthest, signal)
    const isBehind = (server: ServerIdentity): boolean =>
      furthest !== null && furthest.timeline === server.timeline && furthest.lsn > server.flushedUpTo
    // The archive may have been waited for, or filled by another receiver, since the server was met.
    const server = isBehind(met) ? await client.identify(signal) : met
    const start = resumeFrom({
      server,
      line,
      inRecovery: isBehind(server) ? await client.isInRecovery(signal) : null,
      slot,
      furthest,
      furthestLine,
      slotKeepBytes: await client.slotKeepBytes(signal),
      stored,
      removed: this.#removed,
    })
    if (start.warning !== null) log.warn(start.warning, { slot: name })
    if (start.gap !== null) {
      await this.#askOthers(client, start.gap, here, signal)
      await this.#loseWal(start.gap, signal)
    }
    return start
  }

  /** Rejects if another host had what this one has removed: it is here now, and a new start goes on from there. */
  async #askOthers(
    client: ReplicationClient,
    gap: Gap,
    { spool, line, furthest: { place: furthest, line: furthestLine } }: Here,
    signal: AbortSignal,
  ): Promise<void> {
    const { target, accept, endpos, log } = this.#options
    // Without anything here, nothing is missing yet.
    if (furthest === null) return
    const stream = (other: ReplicationClient, start: Start, upTo: Lsn, inner: AbortSignal): Promise<StreamEnd> => {
      const what = { start, slot: null, endpos: endpos === null ? upTo : earlierOf(upTo, endpos), onStreaming() {} }
      return this.#stream(other, spool, what, inner)
    }
    const options = { target, host: client.entry, line, furthest, furthestLine, spool, accept, stream, log }
    const host = await fetchFromOthers(gap, options, signal)
    if (host === null) return
    const message = `the server has removed WAL that ${describeHost(host)} still had: it is received from there`
    throw new WalferryError('WAL_REMOVED', message, { fields: { from: formatLsn(gap.from) }, retryable: true })
  }

  /** Goes on behind WAL that is lost, once that is sure and noted. */
  async #loseWal(gap: Gap, signal: AbortSignal): Promise<void> {
    const { log, onGap, recordGap } = this.#options
    const what = `WAL is lost: the server has removed timeline ${gap.timeline} from ${formatLsn(gap.from)} to ${formatLsn(gap.to)}`
    const fields = { timeline: gap.timeline, from: formatLsn(gap.from), to: formatLsn(gap.to) }
    // Another receiver may have shipped what the server has removed: that is known only once the archive has answered.
    if (!this.#sure || onGap === 'halt') {
      const hint = this.#sure
        ? 'Nobody has received it. To go on behind the gap: --on-gap continue. Then take a base backup.'
        : 'Whether somebody else has shipped it is known only once the store answers.'
      throw new WalferryError('WAL_REMOVED', what, { fields, hint, retryable: !this.#sure })
    }
    await recordGap(gap, signal)
    const hint = 'A recovery cannot pass the gap: take a base backup now, and look why the slot did not keep the WAL.'
    log.error(what, { ...fields, code: 'WAL_REMOVED', hint })
  }

  async #ensureSlot(client: ReplicationClient, furthest: Place | null, signal: AbortSignal): Promise<SlotState> {
    const { slot: name, log, requireSlot } = this.#options
    const removed = this.#removed.at(-1)?.lsn ?? null
    const options = { name, requireSlot, removed, isLost: this.#slotIsLost, hasWal: furthest !== null, log }
    const slot = await ensureSlot(client, options, signal)
    if (slot.isNew) this.#slotIsLost = false
    return slot.state
  }

  async #afterFailure(error: unknown, signal: AbortSignal): Promise<void> {
    const known = isError(error) ? error : null
    if (known === null) throw error
    this.#problem = known
    const broke = this.#state === 'streaming' && isError(known, 'SPOOL_FAILED')
    this.#stuckAt = broke ? this.#options.positions.synced : null
    if (!this.#options.loop || halting.includes(known.code) || isGap(known)) throw known
    if (isError(known, 'SLOT_IN_USE', 'WAL_REMOVED') || isInvalidated(known)) this.#slotWasOurs = false
    this.#state = 'waiting'
    this.#options.onReconnect(known.code)
    if (this.#passesOver(known)) return
    // What a person must mend is asked for at the slow end; what mends itself, at once.
    const waitMs = known.retryable ? this.#nextWaitMs() : backoff.maxMs
    const { log } = this.#options
    const fields = { code: known.code, retryInMs: Math.round(waitMs), hint: known.hint }
    if (known.retryable) log.warn(describe(known), fields)
    else log.error(describe(known), fields)
    await sleep(waitMs, signal)
  }

  /** An invalidated slot is no reason to stop: it is made again before the stream. */
  #noteLostSlot(error: unknown): void {
    if (!isInvalidated(error)) throw error
    this.#slotIsLost = true
    this.#options.log.warn('the server has invalidated the slot', { slot: this.#options.slot, reason: error.message })
  }

  /** Whether another host may have what this one has not, and is tried at once. */
  #passesOver(error: WalferryError): boolean {
    const { target, log } = this.#options
    if (this.#host !== null && isError(error, 'SERVER_TIMELINE', 'SERVER_BEHIND')) {
      this.#passedOver.add(this.#host)
      if (this.#passedOver.size < target.hosts.length) {
        log.warn(`not from ${describeHost(this.#host)}: ${describe(error)}`, { code: error.code, hint: error.hint })
        return true
      }
    }
    this.#passedOver.clear()
    return false
  }

  #nextWaitMs(): number {
    const sinceMs = this.#streamingSinceMs
    this.#streamingSinceMs = null
    // One that broke sooner has not shown that it can work: a full disk breaks each stream with its first bytes.
    if (sinceMs !== null && performance.now() - sinceMs > backoff.maxMs) this.#failures = 0
    const failures = this.#failures++
    return failures === 0 ? 0 : backoffMs(backoff, failures - 1)
  }
}

/** WAL is lost, and nothing may go on. */
function isGap(error: WalferryError): boolean {
  return error.code === 'WAL_REMOVED' && !error.retryable
}
