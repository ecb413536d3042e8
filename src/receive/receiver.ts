/**
 * Receives for as long as it may: connects, finds where to start, streams, and connects again.
 *
 *     connecting -> streaming -> waiting -> connecting ...        until stopped
 *                -> halted                                        something that only a person can decide
 *
 * The first retry comes at once, later ones after at most 5 s.
 */
import { reasonOf, sleep, withDeadline } from '../kit/abort.ts'
import { describe, type ErrorCode, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'
import { ReplicationClient, type ServerIdentity, type SlotState } from '../pg/replication-client.ts'
import type { WalListener } from '../pg/stream-messages.ts'
import type { Target } from '../pg/target.ts'
import type { Positions } from '../spool/positions.ts'
import type { Place, Spool } from '../spool/spool.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import { resumeFrom, type Start } from './start.ts'
import { streamInto } from './stream.ts'

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
  readonly onReceived: (bytes: number) => void
  readonly onReconnect: (reason: ErrorCode | 'OTHER') => void
}

/** Into which spool to stream, and from where. */
export interface Meeting {
  readonly spool: Spool
  /** How far spool and archive reach; null for nothing. */
  readonly furthest: Place | null
  /** The archive was asked just now, and has answered. */
  readonly sure: boolean
}

/** Errors that no retry may mend: going on would lose or mix up WAL. */
const halting: readonly ErrorCode[] = [
  'ARCHIVE_CONFLICT',
  'ARCHIVE_FOREIGN',
  'SERVER_FOREIGN',
  'SERVER_LOST_WAL',
  'SPOOL_CONFLICT',
]
const backoff: Backoff = { firstMs: 100, maxMs: 5000 }
/** wal_receiver_timeout's default: a server that says nothing for so long, also when asked, is gone. */
const silenceMs = 60_000
const tryForSlotMs = 10_000 // it begins a stream and ends it: two round trips
/** Hears nothing of a stream. */
const deaf: WalListener = { walBegins() {}, wal() {}, keepalive() {}, batchEnd() {} }

export class Receiver {
  readonly #options: ReceiverOptions
  #state: ReceiverState = 'connecting'
  #problem: WalferryError | null = null
  /** In a row, without a stream between them that lasted. */
  #failures = 0
  #streamingSinceMs: number | null = null
  /** False until a stream from the slot has begun, and again once somebody else may have had the slot. */
  #slotWasOurs = false
  /** What is known of the archive is as of this session. */
  #sure = false

  constructor(options: ReceiverOptions) {
    this.#options = options
  }

  get state(): ReceiverState {
    return this.#state
  }

  /** Why it does not stream at the moment, or null. */
  get problem(): WalferryError | null {
    return this.#problem
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
          if (signal.aborted) break
          await this.#afterFailure(error, signal)
        }
      }
      this.#state = 'stopped'
    } catch (error) {
      this.#state = signal.aborted ? 'stopped' : 'halted'
      if (!signal.aborted) throw error
    }
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { target, log, positions } = this.#options
    const client = await ReplicationClient.connect(target, signal)
    try {
      const server = await client.identify(signal)
      this.#options.accept(server)
      if (!this.#slotWasOurs) await this.#tryForSlot(client, server, signal)
      const { spool, furthest, sure } = await this.#options.meet(server, !this.#slotWasOurs, signal)
      this.#sure = sure
      const start = await this.#findStart(client, server, furthest, signal)
      const senderTimeoutMs = await client.walSenderTimeoutMs(signal)
      positions.startAt(start.lsn, start.lsn)
      const end = await streamInto(
        {
          client,
          slot: this.#options.slot,
          start,
          spool,
          positions,
          statusIntervalMs: Math.min(
            this.#options.statusIntervalMs,
            senderTimeoutMs === 0 ? Infinity : senderTimeoutMs / 3,
          ),
          silenceMs,
          endpos: this.#options.endpos,
          onReceived: this.#options.onReceived,
          onStreaming: () => {
            this.#state = 'streaming'
            this.#streamingSinceMs = performance.now()
            this.#slotWasOurs = true
            this.#problem = null
            log.info('streaming', {
              server: client.host,
              version: client.majorVersion,
              timeline: start.timeline,
              start: formatLsn(start.lsn),
              slot: this.#options.slot,
            })
          },
        },
        signal,
      )
      if (end.kind === 'timeline-ended') {
        throw new WalferryError(
          'SERVER_TIMELINE',
          `timeline ${start.timeline} ended at ${formatLsn(end.startsAt)}; the server went on as timeline ${end.timeline}`,
          {
            hint: 'Following a timeline switch is not supported yet. To follow this server, use a new spool and a new archive.',
          },
        )
      }
    } finally {
      await client.close()
    }
  }

  /**
   * Rejects SLOT_IN_USE while another receiver streams from the slot. Where the archive ends is worth asking only once
   * that one has stopped.
   */
  async #tryForSlot(client: ReplicationClient, server: ServerIdentity, signal: AbortSignal): Promise<void> {
    const { slot } = this.#options
    const { state } = await client.readSlot(slot, signal)
    if (state !== 'reserved' && state !== 'unreserved') return
    const from = { slot, timeline: server.timeline, start: server.flushedUpTo }
    const late = (): Error =>
      new WalferryError('PG_CONNECTION_LOST', `no answer to a stream from the slot "${slot}"`, { retryable: true })
    await withDeadline(tryForSlotMs, signal, late, async (inner) => {
      const onAbort = (): void => client.cut(reasonOf(inner))
      inner.addEventListener('abort', onAbort, { once: true })
      // Nothing is reported, so the slot stays where it is.
      await client.stream(from, deaf, (hands) => hands.stop())
    })
  }

  async #findStart(
    client: ReplicationClient,
    met: ServerIdentity,
    furthest: Place | null,
    signal: AbortSignal,
  ): Promise<Start> {
    const slot = await this.#ensureSlot(client, furthest, signal)
    const isBehind = (server: ServerIdentity): boolean => furthest !== null && furthest.lsn > server.flushedUpTo
    // The archive may have been waited for, or filled by another receiver, since the server was met.
    const server = isBehind(met) ? await client.identify(signal) : met
    const behind = isBehind(server)
    const start = resumeFrom({
      server,
      inRecovery: behind ? await client.isInRecovery(signal) : null,
      slot,
      furthest,
      slotKeepBytes: await client.slotKeepBytes(signal),
    })
    if (start.warning !== null) this.#options.log.warn(start.warning, { slot: this.#options.slot })
    return start
  }

  /** A slot that reserves WAL, made where there is none, before the stream starts: from here on nothing is discarded. */
  async #ensureSlot(client: ReplicationClient, furthest: Place | null, signal: AbortSignal): Promise<SlotState> {
    const { slot: name, log } = this.#options
    const found = await client.readSlot(name, signal)
    if (found.state === 'reserved') return found
    // With WAL of our own, streaming itself makes a slot reserve from where we are.
    if (found.state === 'unreserved' && furthest !== null) return found
    if (found.state === 'unreserved') await client.dropSlot(name, signal)
    try {
      await client.createSlot(name, signal)
      log.info('created the slot', { slot: name })
    } catch (error) {
      const exists = isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '42710'
      if (!exists || found.state !== 'unreadable') throw error
    }
    return await client.readSlot(name, signal)
  }

  async #afterFailure(error: unknown, signal: AbortSignal): Promise<void> {
    const known = isError(error) ? error : null
    if (known === null) throw error
    this.#problem = known
    if (!this.#options.loop || this.#halts(known)) throw known
    if (known.code === 'SLOT_IN_USE' || known.code === 'WAL_REMOVED') this.#slotWasOurs = false
    this.#state = 'waiting'
    this.#options.onReconnect(known.code)
    // What a person must mend is asked for at the slow end; what mends itself, at once.
    const waitMs = known.retryable ? this.#nextWaitMs() : backoff.maxMs
    const { log } = this.#options
    const fields = { code: known.code, retryInMs: Math.round(waitMs), hint: known.hint }
    if (known.retryable) log.warn(describe(known), fields)
    else log.error(describe(known), fields)
    await sleep(waitMs, signal)
  }

  #halts(error: WalferryError): boolean {
    // Another receiver may have shipped what the server has removed: that is known only once the archive has answered.
    if (error.code === 'WAL_REMOVED') return this.#sure
    return halting.includes(error.code)
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
