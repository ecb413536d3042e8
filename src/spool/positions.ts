/**
 * How far the WAL has come: the noun through which receive, spool and ship meet.
 *
 *     server >= received >= written >= synced >= shipped
 *
 * Each position is set by the one room that knows it, and moves forward only. There are two exceptions: `dropUnsynced`,
 * when the spool gives up what it could not make durable, and `turnTo`, when the server's line has left ours.
 *
 * Ages are measured on a line of time of our own. It begins with our clock at the start, and goes on as the server's does;
 * where another stream's first word jumps, because that is another host or its clock was set, the line does not, and
 * what waits from before is as old as it was.
 */
import { Bell } from '../kit/bell.ts'
import type { Clock } from '../kit/clock.ts'
import { asLsn, bytesBetween, earlierOf, laterOf, type Lsn, lsnZero } from '../wal/lsn.ts'
import type { LastWrite } from './last-writes.ts'
import { Trail } from './trail.ts'

export const stages = ['receive', 'sync', 'ship'] as const
export type Stage = (typeof stages)[number]

export interface Lag {
  readonly bytes: number
  /** Age of the oldest byte that has not passed the stage; 0 when all has. */
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
  /** A moment on our line of time (the server's last word, or our start), and our monotonic clock at it. */
  #anchor: { readonly lineMs: number; readonly hereMs: number }
  /** How far the clock of this stream's server is ahead of our line; null until its first word. */
  #aheadMs: number | null = null
  #hasServerSpoken = false
  /** When we began: what lay here then is at least as old. */
  #begunMs: number | null = null
  /** When the files were last written to that lay here then: what they hold is at least as old, too. */
  readonly #found = new Trail()
  /** How much the server had, and when it said so. */
  readonly #said = new Trail()
  /** Since when the server owes an answer, by our monotonic clock; null: it owes none. */
  #askedMs: number | null = null
  /** The server's last word before this stream, until it has said in this one how much it has. */
  #lastWordMs: number | null = null

  constructor(clock: Clock) {
    this.#clock = clock
    this.#anchor = { lineMs: clock.nowMs(), hereMs: clock.monotonicMs() }
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
    this.#begunMs ??= this.#nowMs()
    if (this.#hasServerSpoken) this.#lastWordMs ??= this.#anchor.lineMs
    this.#aheadMs = null
    this.#askedMs = null
    this.bell.ring()
  }

  /**
   * What lay in the spool at the start. A file's last write, by our own clock, came after its bytes did, so their age from
   * then on is a lower bound; when they came nobody knows any more.
   */
  noteFound(writes: readonly LastWrite[]): void {
    for (const { start, atMs } of writes) this.#found.note(start, Math.min(atMs, this.#begunMs ?? atMs))
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
    for (const trail of [this.#sent, this.#existed, this.#said, this.#found]) trail.forgetFrom(fork)
    this.bell.ring()
  }

  /** The server spoke at `sentAtMs` (its clock, since 1970), and its WAL was durable up to `flush`. */
  noteServer(flush: Lsn, sentAtMs: number): void {
    this.#aheadMs ??= sentAtMs - this.#nowMs()
    this.#hasServerSpoken = true
    this.#askedMs = null
    const lineMs = sentAtMs - this.#aheadMs
    this.#anchor = { lineMs, hereMs: this.#clock.monotonicMs() }
    if (flush >= this.#server) {
      // What came into being while we were away may be as old as the last word before.
      if (flush > this.#server) this.#existed.note(this.#server, this.#lastWordMs ?? lineMs)
      this.#lastWordMs = null
      this.#server = flush
    }
    // A keepalive names what was sent, which may be less than what the server had said before that it has.
    if (flush === this.#server) this.#said.note(flush, lineMs, sentAtMs)
  }

  /** The server was asked for a word, whatever it has to say. */
  noteAsked(): void {
    this.#askedMs ??= this.#clock.monotonicMs()
  }

  /** The bytes from `start` on were sent at `sentAtMs`, by the clock of a server that has spoken. */
  noteSent(start: Lsn, sentAtMs: number): void {
    // After a reconnect a message may begin with bytes that are here already.
    this.#sent.note(laterOf(start, this.#received), sentAtMs - (this.#aheadMs ?? 0))
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
    const ageMs = this.#ageOf(from, stage === 'receive' ? this.#existed : this.#sent)
    return { bytes: bytesBetween(from, to), seconds: (ageMs ?? 0) / 1000 }
  }

  /**
   * How old the oldest byte is that is not in the store; null when the store has all. What lay here when we began is at
   * least as old as that told.
   */
  unshippedAgeMs(): number | null {
    return this.#shipped >= this.#server ? null : this.#ageOf(this.#shipped, this.#existed)
  }

  /**
   * What the stored WAL reaches: the newest moment, by the server's clock since 1970, to which it brings whoever has a
   * base backup that leads there; null while nothing is known. It is when the server last said that it has no more than
   * what is shipped by now: what committed before is in the store. When bytes were sent does not tell: a server that
   * catches us up sends old ones. So while we catch up this stands still.
   */
  restorableTimeMs(): number | null {
    return this.#shipped === lsnZero ? null : this.#said.toldTimeOf(this.#shipped)
  }

  /** How long ago that was, whatever server's clock told it. */
  restorableAgeMs(): number | null {
    const sinceMs = this.#shipped === lsnZero ? null : this.#said.timeOf(this.#shipped)
    return sinceMs === null ? null : Math.max(0, this.#nowMs() - sinceMs)
  }

  get hasServerSpoken(): boolean {
    return this.#hasServerSpoken
  }

  /** How long the server has owed an answer; null: it owes none. */
  owedMs(): number | null {
    return this.#askedMs === null ? null : this.#clock.monotonicMs() - this.#askedMs
  }

  /** How long ago the server's last word came; null before the first. */
  lastWordAgeMs(): number | null {
    return this.#hasServerSpoken ? this.#clock.monotonicMs() - this.#anchor.hereMs : null
  }

  /** How old the byte at `position` is, by `trail` where that knows, and else at least. */
  #ageOf(position: Lsn, trail: Trail): number | null {
    const sinceMs = trail.timeOf(position) ?? this.#found.timeOf(position) ?? this.#begunMs
    return sinceMs === null ? null : Math.max(0, this.#nowMs() - sinceMs)
  }

  /** This moment on our line of time. */
  #nowMs(): number {
    return this.#anchor.lineMs + (this.#clock.monotonicMs() - this.#anchor.hereMs)
  }
}
