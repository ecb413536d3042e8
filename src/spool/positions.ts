/**
 * How far the WAL has come: the noun through which receive, spool and ship meet.
 *
 *     server >= received >= written >= synced >= shipped
 *
 * Each position is set by the one room that knows it, and moves forward only. There are two exceptions: `dropUnsynced`,
 * when the spool gives up what it could not make durable, and `turnTo`, when the server's line has left ours.
 */
import { Bell } from '../kit/bell.ts'
import type { Clock } from '../kit/clock.ts'
import { asLsn, bytesBetween, earlierOf, laterOf, type Lsn, lsnZero } from '../wal/lsn.ts'
import { Trail } from './trail.ts'

export const stages = ['receive', 'sync', 'ship'] as const
export type Stage = (typeof stages)[number]

export interface Lag {
  readonly bytes: number
  /** Age, by the server's clock, of the oldest byte that has not passed the stage; 0 when all has. */
  readonly seconds: number
}

export class Positions {
  /** Rings when `synced` or `shipped` has changed: those are what somebody waits for. */
  readonly bell = new Bell()
  readonly #clock: Clock
  /** When which bytes were sent, and when they came into being, as far as we can know. */
  readonly #sent = new Trail()
  readonly #existed = new Trail()
  #server: Lsn = lsnZero
  #received: Lsn = lsnZero
  #written: Lsn = lsnZero
  #synced: Lsn = lsnZero
  #shipped: Lsn = lsnZero
  /** The server's clock when it last sent something, and ours (monotonic) when that came. */
  #heard: { readonly serverMs: number; readonly hereMs: number } | null = null
  /** The server's clock when it first sent something: what lies here from before is at least as old. */
  #firstHeardMs: number | null = null
  /** How much the server had, and its clock when it said so. */
  readonly #said = new Trail()
  /** The server's last word before this stream, until it has said in this one how much it has. */
  #lastWordMs: number | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How far the server's own WAL is durable, as it last said. */
  get server(): Lsn {
    return this.#server
  }

  get received(): Lsn {
    return this.#received
  }

  /** Handed to the operating system. */
  get written(): Lsn {
    return this.#written
  }

  /** Durable in the spool. */
  get synced(): Lsn {
    return this.#synced
  }

  /** Every byte up to it is durable in the store. */
  get shipped(): Lsn {
    return this.#shipped
  }

  /** A stream begins at `begin`, and everything up to `at` is durable here or in the store already. */
  startAt(at: Lsn, begin: Lsn): void {
    if (this.#shipped === lsnZero) this.#shipped = begin
    this.#synced = laterOf(this.#synced, at)
    this.#written = laterOf(this.#written, at)
    this.#received = laterOf(this.#received, at)
    this.#server = laterOf(this.#server, at)
    this.#lastWordMs ??= this.#heard?.serverMs ?? null
    this.bell.ring()
  }

  /** The server's line left ours at `fork`: what is here behind it is on a branch that does not count any more. */
  turnTo(fork: Lsn): void {
    if (fork >= this.#server) return
    this.#server = fork
    this.#received = earlierOf(this.#received, fork)
    this.#written = earlierOf(this.#written, fork)
    this.#synced = earlierOf(this.#synced, fork)
    this.#shipped = earlierOf(this.#shipped, fork)
    // Their positions will be passed a second time.
    for (const trail of [this.#sent, this.#existed, this.#said]) trail.forgetFrom(fork)
    this.bell.ring()
  }

  /** The server spoke at `sentAtMs` (its clock, since 1970), and its WAL was durable up to `flush`. */
  noteServer(flush: Lsn, sentAtMs: number): void {
    this.#heard = { serverMs: sentAtMs, hereMs: this.#clock.monotonicMs() }
    this.#firstHeardMs ??= sentAtMs
    if (flush >= this.#server) {
      // What came into being while we were away may be as old as the last word before.
      if (flush > this.#server) this.#existed.note(this.#server, this.#lastWordMs ?? sentAtMs)
      this.#lastWordMs = null
      this.#server = flush
    }
    // A keepalive names what was sent, which may be less than what the server had said before that it has.
    if (flush === this.#server) this.#said.note(flush, sentAtMs)
  }

  /** The bytes from `start` on were sent at `sentAtMs`. */
  noteSent(start: Lsn, sentAtMs: number): void {
    // After a reconnect a message may begin with bytes that are here already.
    this.#sent.note(laterOf(start, this.#received), sentAtMs)
  }

  noteReceived(upTo: Lsn): void {
    if (upTo <= this.#received) return
    this.#received = upTo
    if (this.#server < upTo) this.#server = upTo
  }

  noteWritten(upTo: Lsn): void {
    if (upTo <= this.#written) return
    this.#written = upTo
  }

  noteSynced(upTo: Lsn): void {
    if (upTo <= this.#synced) return
    this.#synced = upTo
    this.bell.ring()
  }

  noteShipped(upTo: Lsn): void {
    if (upTo <= this.#shipped) return
    this.#shipped = upTo
    if (upTo > 0n) this.#sent.forgetBefore(asLsn(upTo - 1n))
    this.#existed.forgetBefore(upTo)
    this.#said.forgetBefore(upTo)
    this.bell.ring()
  }

  /** What was not synced is given up; it will be received again. */
  dropUnsynced(): void {
    this.#received = this.#synced
    this.#written = this.#synced
    this.bell.ring()
  }

  lag(stage: Stage): Lag {
    const [from, to] = {
      receive: [this.#received, this.#server] as const,
      sync: [this.#synced, this.#received] as const,
      ship: [this.#shipped, this.#synced] as const,
    }[stage]
    if (from >= to) return { bytes: 0, seconds: 0 }
    const since = (stage === 'receive' ? this.#existed : this.#sent).timeOf(from) ?? this.#firstHeardMs
    const serverNowMs = this.serverNowMs()
    const seconds = since === null || serverNowMs === null ? 0 : Math.max(0, (serverNowMs - since) / 1000)
    return { bytes: bytesBetween(from, to), seconds }
  }

  /**
   * Since when, by the server's clock, the oldest byte exists that is not in the store; null when the store has all. What
   * the server had before it first spoke to us is at least as old as that.
   */
  unshippedSinceMs(): number | null {
    if (this.#shipped >= this.#server) return null
    return this.#existed.timeOf(this.#shipped) ?? this.#firstHeardMs
  }

  /**
   * The newest moment, by the server's clock since 1970, to which the store alone can bring the database; null while
   * nothing is known. It is when the server last said that it has no more than what is shipped by now: what committed
   * before is in the store. When bytes were sent does not tell: a server that catches us up sends old ones. So while we
   * catch up this stands still.
   */
  restorableTimeMs(): number | null {
    return this.#shipped === lsnZero ? null : this.#said.timeOf(this.#shipped)
  }

  /** The server's clock at this moment; null before it first spoke. */
  serverNowMs(): number | null {
    if (this.#heard === null) return null
    return this.#heard.serverMs + (this.#clock.monotonicMs() - this.#heard.hereMs)
  }
}
