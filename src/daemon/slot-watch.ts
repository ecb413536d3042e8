/**
 * Asks the server how our slot stands: pg_replication_slots, over an ordinary connection, because the replication
 * protocol does not tell.
 *
 * Asked when a stream has begun or ended and every half minute, of the server that is or was last streamed from: a slot
 * matters most while nothing is streamed. Each time on a new connection: one that is kept would hold up a smart shutdown of the
 * server for ever. Where pg_hba.conf or the rights forbid it, that is said once, and tried again now and then. No failure
 * here stops anything. A server that cannot be reached leaves what it said last, with its age: the slot goes on to fill
 * meanwhile. Where it refuses to say anything, and of another host, nothing is known.
 */
import pg from 'pg'
import { sleep, withDeadline } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { SqlClient, type SqlRow } from '../pg/sql-client.ts'
import type { MetServer } from '../receive/receiver.ts'
import { type SlotSeen, slotStatuses } from './known.ts'

export interface SlotWatchOptions {
  readonly slot: string
  /** The server that is, or was last, streamed from: a new object for each stream. */
  readonly server: () => MetServer | null
  readonly isStreaming: () => boolean
  readonly clock: Clock
  readonly log: Log
}

const everyMs = 30_000
/** After a refusal, which leaves a line in the server's log each time. */
const afterRefusalMs = 600_000
const lookMs = 1000
const patienceMs = 10_000

/** `row` undefined: there is no slot of that name. null for one that never kept anything. */
export function slotFrom(row: SqlRow | undefined, askedAt: Date): SlotSeen | null {
  if (row === undefined) return { walStatus: 'missing', safeBytes: 0, retainedBytes: 0, askedAt }
  const walStatus = slotStatuses.find((one) => one === row['wal_status'])
  if (walStatus === undefined) return null
  const safe = row['safe_wal_size'] ?? null
  // The server tells no size where there is no limit, and none of a slot that is lost.
  const unlimited = walStatus === 'lost' ? 0 : Infinity
  return {
    walStatus,
    safeBytes: safe === null ? unlimited : Math.max(0, Number(safe)),
    retainedBytes: Math.max(0, Number(row['retained'] ?? 0)),
    askedAt,
  }
}

export class SlotWatch {
  readonly #options: SlotWatchOptions
  #seen: SlotSeen | null = null
  #asked: MetServer | null = null
  #wasStreaming = false
  #dueMs = Number.NEGATIVE_INFINITY
  /** That it could not be asked. */
  #isTold = false

  constructor(options: SlotWatchOptions) {
    this.#options = options
  }

  /** As the server last said; null where it was not asked yet, or refuses. */
  get seen(): SlotSeen | null {
    return this.#seen
  }

  /** Asks until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look(signal)
      await sleep(lookMs, signal).catch(() => undefined)
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, log, slot } = this.#options
    const server = this.#options.server()
    const isStreaming = this.#options.isStreaming()
    if (server === null) return
    const isSame = server === this.#asked && isStreaming === this.#wasStreaming
    if (isSame && clock.monotonicMs() < this.#dueMs) return
    if (server.host !== this.#asked?.host) this.#seen = null
    this.#asked = server
    this.#wasStreaming = isStreaming
    this.#dueMs = clock.monotonicMs() + everyMs
    try {
      this.#seen = await this.#ask(server, signal)
      this.#isTold = false
    } catch (error) {
      if (signal.aborted || !isError(error, 'PG_REFUSED')) return
      this.#seen = null
      this.#dueMs = clock.monotonicMs() + afterRefusalMs
      if (this.#isTold) return
      this.#isTold = true
      log.info(`the slot is not watched: ${describe(error)}`, {
        slot,
        hint: 'To see how much WAL the server keeps for it, allow the role an ordinary connection in pg_hba.conf.',
      })
    }
  }

  async #ask({ target }: MetServer, signal: AbortSignal): Promise<SlotSeen | null> {
    const { slot, clock } = this.#options
    return await withDeadline(patienceMs, signal, noAnswer, async (inner) => {
      const client = await SqlClient.connect(target, inner)
      try {
        const [row] = await client.rows(question(slot), `read the slot "${slot}"`, inner)
        return slotFrom(row, new Date(clock.nowMs()))
      } finally {
        await client.close()
      }
    })
  }
}

function noAnswer(): Error {
  return new WalferryError('PG_CONNECTION_LOST', 'the server does not answer', { retryable: true })
}

/** A standby keeps what it has received, and at least what it has replayed. */
function question(slot: string): string {
  return `
    SELECT wal_status, safe_wal_size, pg_catalog.pg_wal_lsn_diff(
      CASE WHEN pg_catalog.pg_is_in_recovery()
        THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
        ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn) AS retained
    FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical' AND slot_name = ${pg.escapeLiteral(slot)}`
}
