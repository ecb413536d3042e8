/**
 * One stream from a server into the spool: hands bytes on, answers the server, and pauses it while the spool is full.
 *
 * What is reported: *written* within 2 ms, or along with its sync; *flushed* as soon as it is synced, or shipped (ack.ts),
 * never before; *applied* never. A reply never waits for an fsync or an upload: when the server asks, it gets what is true
 * now, and the sync that is under way reports by itself when it is done.
 */
import { WalferryError } from '../kit/errors.ts'
import type { ReplicationClient, StreamEnd, WalStream } from '../pg/replication-client.ts'
import type { WalListener } from '../pg/stream-messages.ts'
import type { Positions } from '../spool/positions.ts'
import type { Spool, SpoolListener } from '../spool/spool.ts'
import { bytesBetween, formatLsn, type Lsn, lsnZero, plus } from '../wal/lsn.ts'
import type { Ack } from './ack.ts'
import type { Start } from './start.ts'

export interface StreamOptions {
  readonly client: ReplicationClient
  /** null: from none. */
  readonly slot: string | null
  readonly start: Start
  readonly spool: Spool
  readonly positions: Positions
  readonly ack: Ack
  /** How often to report when nothing else makes us, and to ask a server that says nothing. */
  readonly statusIntervalMs: number
  /** A server that is silent for this long, also when asked, is gone. */
  readonly silenceMs: number
  /** Stop, politely, once everything up to here is received; nothing past it is taken. */
  readonly endpos: Lsn | null
  readonly onReceived: (bytes: number) => void
  readonly onStreaming: () => void
}

/** How long a server may take to end the stream after we asked. */
const goodbyeMs = 3000
/** How long what is written waits for its sync, to be reported along with it. */
const writtenAfterMs = 2
/** A reader that is paused and goes on replying holds up a shutdown of the server; one that is gone does not. */
const maxPauseMs = 5000

/** Streams until it is stopped (by `signal` or at `endpos`), the timeline ends, or something breaks, which rejects. */
export async function streamInto(options: StreamOptions, signal: AbortSignal): Promise<StreamEnd> {
  const stream = new SpoolStream(options)
  await options.spool.beginStream(options.start.timeline, options.start.lsn, stream)
  // Only now: before, what the spool holds of the old branch would count as shipped once more.
  if (options.start.fork !== null) options.positions.turnTo(options.start.fork)
  const from = { slot: options.slot, timeline: options.start.timeline, start: options.start.lsn }
  const onAbort = (): void => stream.stop()
  const ended = new AbortController()
  if (options.ack.isOfStore) void stream.reportShipped(ended.signal)
  try {
    signal.throwIfAborted()
    signal.addEventListener('abort', onAbort, { once: true })
    const end = await options.client.stream(from, stream, (hands) => stream.begin(hands))
    // Where the next stream starts is known only then.
    await options.spool.settle()
    return end
  } finally {
    signal.removeEventListener('abort', onAbort)
    stream.end()
    ended.abort(new Error('the stream has ended'))
    // Where the stream broke, the next one waits for it.
    if (signal.aborted) await options.spool.settle()
  }
}

class SpoolStream implements WalListener, SpoolListener {
  readonly #options: StreamOptions
  readonly #spool: Spool
  readonly #positions: Positions
  #hands: WalStream | null = null
  #ticker: NodeJS.Timeout | undefined
  #goodbye: NodeJS.Timeout | undefined
  /** Runs while something is written that was not reported. */
  #writtenSoon: NodeJS.Timeout | undefined
  #patience: NodeJS.Timeout | undefined
  #paused = false
  #stopping = false
  /** The server asked for a reply in this batch. */
  #askedFor = false
  #batchBytes = 0
  #heardAtMs = performance.now()
  #reportedWritten: Lsn = lsnZero
  #reportedFlushed: Lsn = lsnZero

  constructor(options: StreamOptions) {
    this.#options = options
    this.#spool = options.spool
    this.#positions = options.positions
  }

  begin(hands: WalStream): void {
    this.#hands = hands
    this.#ticker = setInterval(() => this.#tick(), this.#options.statusIntervalMs)
    this.#options.onStreaming()
    this.#report(false)
    if (this.#stopping) this.#sayGoodbye(hands)
    // An idle server may say nothing for long.
    else this.#stopAtEndpos()
  }

  /** Stops taking bytes, makes durable what is here, tells the server, and says goodbye. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#goodbye = setTimeout(() => {
      const late = new WalferryError('PG_CONNECTION_LOST', 'the server did not end the stream', { retryable: true })
      this.#options.client.cut(late)
    }, goodbyeMs)
    if (this.#hands !== null) this.#sayGoodbye(this.#hands)
  }

  #sayGoodbye(hands: WalStream): void {
    void this.#spool.settle().then(() => {
      this.#report(false)
      hands.resume()
      hands.stop()
    })
  }

  /** Reports whenever more is shipped, until `signal` aborts. */
  async reportShipped(signal: AbortSignal): Promise<void> {
    const { bell } = this.#positions
    while (!signal.aborted) {
      await bell.after(bell.count, signal).catch(() => undefined)
      if (this.#status().flushed !== this.#reportedFlushed) this.#report(false)
    }
  }

  end(): void {
    clearInterval(this.#ticker)
    clearTimeout(this.#goodbye)
    clearTimeout(this.#writtenSoon)
    clearTimeout(this.#patience)
    this.#hands = null
  }

  // From the server.

  walBegins(start: Lsn, serverFlush: Lsn, sentAtMs: number): void {
    if (this.#stopping) return
    if (start !== this.#spool.receivedUpTo) {
      const expected = formatLsn(this.#spool.receivedUpTo)
      throw new WalferryError('PG_PROTOCOL', `the server sent WAL at ${formatLsn(start)}, where ${expected} was due`, {
        retryable: true,
      })
    }
    this.#positions.noteServer(serverFlush, sentAtMs)
    this.#positions.noteSent(start, sentAtMs)
  }

  wal(bytes: Buffer): void {
    if (this.#stopping) return
    const taken = this.#upToEndpos(bytes)
    this.#spool.append(taken)
    this.#batchBytes += taken.length
    // The batch may hold more messages, and none of them is ours.
    this.#stopAtEndpos()
  }

  #upToEndpos(bytes: Buffer): Buffer {
    const { endpos } = this.#options
    if (endpos === null || plus(this.#spool.receivedUpTo, bytes.length) <= endpos) return bytes
    return bytes.subarray(0, bytesBetween(this.#spool.receivedUpTo, endpos))
  }

  keepalive(serverPosition: Lsn, sentAtMs: number, replyRequested: boolean): void {
    this.#positions.noteServer(serverPosition, sentAtMs)
    if (!replyRequested) return
    this.#askedFor = true
    const { writtenUpTo } = this.#spool
    this.#options.ack.replyRequested(writtenUpTo >= serverPosition && writtenUpTo === this.#spool.receivedUpTo)
  }

  batchEnd(): void {
    this.#heardAtMs = performance.now()
    if (this.#batchBytes > 0) {
      this.#options.onReceived(this.#batchBytes)
      this.#batchBytes = 0
      this.#spool.batchEnd()
    }
    // A server that shuts down asks thousands of times a second: one answer for all that came together.
    if (this.#askedFor) {
      this.#askedFor = false
      this.#report(false)
    }
    if (this.#spool.isFull && !this.#paused) this.#pause()
    this.#stopAtEndpos()
  }

  #stopAtEndpos(): void {
    const { endpos } = this.#options
    if (endpos !== null && this.#spool.receivedUpTo >= endpos) this.stop()
  }

  #pause(): void {
    this.#paused = true
    this.#hands?.pause()
    this.#patience = setTimeout(() => {
      this.#report(false)
      const message = `the spool has taken no WAL for ${maxPauseMs / 1000} s`
      const hint = 'Its disk is too slow or hangs. The slot keeps the WAL until it takes more.'
      this.#options.client.cut(new WalferryError('SPOOL_FAILED', message, { retryable: true, hint }))
    }, maxPauseMs)
  }

  // From the spool.

  progress(): void {
    const { written, flushed } = this.#status()
    if (flushed !== this.#reportedFlushed) this.#report(false)
    else if (written !== this.#reportedWritten) {
      // On a fast disk the sync ends sooner, and one report tells both: a second one would slow each commit down.
      this.#writtenSoon ??= setTimeout(() => this.#report(false), writtenAfterMs)
    }
  }

  hasRoom(): void {
    if (!this.#paused) return
    this.#paused = false
    clearTimeout(this.#patience)
    this.#heardAtMs = performance.now()
    this.#hands?.resume()
  }

  failed(error: WalferryError): void {
    this.#options.client.cut(error)
  }

  #status(): { written: Lsn; flushed: Lsn } {
    const { writtenUpTo, syncedUpTo } = this.#spool
    const { ack, start } = this.#options
    return { written: writtenUpTo, flushed: syncedUpTo >= start.acknowledgeFrom ? ack.flushed(syncedUpTo) : lsnZero }
  }

  #report(wantReply: boolean): void {
    clearTimeout(this.#writtenSoon)
    this.#writtenSoon = undefined
    if (this.#hands === null) return
    const { written, flushed } = this.#status()
    this.#reportedWritten = written
    this.#reportedFlushed = flushed
    this.#hands.report({ written, flushed, wantReply })
    if (wantReply) this.#positions.noteAsked()
  }

  #tick(): void {
    const silentMs = this.#paused ? 0 : performance.now() - this.#heardAtMs
    if (silentMs > this.#options.silenceMs) {
      const message = `the server has been silent for ${Math.round(silentMs / 1000)} s`
      this.#options.client.cut(new WalferryError('PG_CONNECTION_LOST', message, { retryable: true }))
      return
    }
    // An idle server says nothing unless it is asked, and then nobody can tell it from one that is cut off.
    this.#report(silentMs > this.#options.statusIntervalMs / 2)
  }
}
