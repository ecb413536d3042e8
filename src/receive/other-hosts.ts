/**
 * Looks after our slot on the hosts of the target that are not streamed from. One of them may be the next primary, and
 * without a slot it would discard WAL that we lack; and the slot that an earlier primary still has would keep WAL for
 * ever.
 *
 *     the slot is missing, or keeps nothing     it is made
 *     it is behind what is durable here         it is advanced, as far as that server's own line is ours
 *
 * Advanced at most to where the two lines part: behind that, WAL of the same position is other WAL. Looked at when a
 * stream has begun and every minute, on connections of its own. No failure here stops anything.
 */
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { ReplicationClient, type ServerIdentity, type SlotState } from '../pg/replication-client.ts'
import { describeHost, type Host, type Target } from '../pg/target.ts'
import { isAncestor, partingOf, type TimelineHistory } from '../wal/history.ts'
import { earlierOf, formatLsn, type Lsn } from '../wal/lsn.ts'
import { lineOf } from './learn-line.ts'

/** The server that is streamed from. A new object for each stream. */
export interface Streamed {
  readonly host: Host
  readonly server: ServerIdentity
  readonly line: TimelineHistory
}

export interface OtherHostsOptions {
  readonly target: Target
  readonly slot: string
  /** Never create the slot. */
  readonly requireSlot: boolean
  /** null while nothing is streamed. */
  readonly streamed: () => Streamed | null
  /** Up to where the line that is streamed is durable: what its server is told, too. */
  readonly durable: () => Lsn
  readonly clock: Clock
  readonly log: Log
}

const everyMs = 60_000
/** A stream that breaks again and again is no reason to knock at the others each time. */
const soonestMs = 5000
const lookMs = 1000
const connectTimeoutSeconds = 5

/** Up to where `theirs` is the same WAL as what is durable here of `ours`, and is there. */
export function commonUpTo(ours: TimelineHistory, theirs: TimelineHistory, durable: Lsn, flushedUpTo: Lsn): Lsn {
  const { at } = partingOf(ours, theirs)
  const common = at === null ? durable : earlierOf(at, durable)
  return earlierOf(common, flushedUpTo)
}

export class OtherHosts {
  readonly #options: OtherHostsOptions
  #last: Streamed | null = null
  #lookedMs = Number.NEGATIVE_INFINITY
  /** What was told of each host since it was last all right. */
  readonly #told = new Map<Host, Set<string>>()
  /** Where a slot stood that could not be advanced. */
  readonly #stuckAt = new Map<Host, Lsn>()

  constructor(options: OtherHostsOptions) {
    this.#options = options
  }

  /** Looks until `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(signal)
      await sleep(lookMs, signal).catch(() => undefined)
    }
  }

  /** Visits every other host, if that is due. Never rejects. */
  async look(signal: AbortSignal): Promise<void> {
    const { target, clock } = this.#options
    const streamed = this.#options.streamed()
    const sinceMs = clock.monotonicMs() - this.#lookedMs
    if (streamed === null || sinceMs < (streamed === this.#last ? everyMs : soonestMs)) return
    this.#last = streamed
    this.#lookedMs = clock.monotonicMs()
    for (const host of target.hosts) {
      if (host !== streamed.host) await this.#visit(host, streamed, signal)
    }
  }

  async #visit(host: Host, streamed: Streamed, signal: AbortSignal): Promise<void> {
    const { target } = this.#options
    try {
      const alone: Target = { ...target, hosts: [host], sessionAttrs: 'any', connectTimeoutSeconds }
      const client = await ReplicationClient.connect(alone, signal)
      try {
        await this.#lookAfter(client, host, streamed, signal)
      } finally {
        await client.close()
      }
    } catch (error) {
      // Somebody who streams from the slot moves it on; it may be ourselves, where two names lead to one server.
      if (signal.aborted || isError(error, 'SLOT_IN_USE')) return
      const code = isError(error) ? error.code : 'OTHER'
      this.#tell(host, code, `cannot look after the slot on ${describeHost(host)}: ${describe(error)}`, {
        code,
        hint: isError(error) ? error.hint : undefined,
      })
    }
  }

  async #lookAfter(client: ReplicationClient, host: Host, streamed: Streamed, signal: AbortSignal): Promise<void> {
    const { slot: name, durable } = this.#options
    const server = await client.identify(signal)
    if (server.systemIdentifier !== streamed.server.systemIdentifier) throw foreign(server, streamed)
    const line = await lineOf(client, server, signal)
    // What is durable by now may be of another line, if another stream has begun meanwhile.
    if (this.#options.streamed() !== streamed) return
    const upTo = commonUpTo(streamed.line, line, durable(), server.flushedUpTo)
    const isOld = isAncestor(streamed.line, server.timeline) && (await client.isInRecovery(signal)) === false
    const found = await client.readSlot(name, signal)
    if (isOld) {
      const message = `${describeHost(host)} is an old primary, on timeline ${server.timeline}`
      const hint = 'Rewind it, or stop it. Where it has a slot of ours, that keeps all WAL that it still writes.'
      this.#tell(host, 'old', message, { slot: found.state, hint })
    }
    const slot = isOld ? found : await this.#ensure(client, host, found, signal)
    if (slot.state !== 'reserved' || slot.restartLsn >= upTo) return this.#isWell(host, isOld)
    if (await client.advanceSlot(name, upTo, signal)) {
      this.#options.log.debug(`advanced the slot on ${describeHost(host)}`, { slot: name, to: formatLsn(upTo) })
      return this.#isWell(host, isOld)
    }
    // A standby has received more than it has replayed, and is moved on the next time.
    if (this.#stuckAt.get(host) === slot.restartLsn) {
      const message = `the slot on ${describeHost(host)} cannot be advanced, and keeps WAL from ${formatLsn(slot.restartLsn)} on`
      const hint = `The role needs an ordinary connection there (database "${this.#options.target.database}" in pg_hba.conf), and a standby has to replay.`
      this.#tell(host, 'stuck', message, { slot: name, hint })
    }
    this.#stuckAt.set(host, slot.restartLsn)
  }

  async #ensure(client: ReplicationClient, host: Host, found: SlotState, signal: AbortSignal): Promise<SlotState> {
    const { slot: name, requireSlot, log } = this.#options
    if (found.state === 'reserved') return found
    if (requireSlot) {
      if (found.state === 'unreadable') return found
      const is = found.state === 'missing' ? 'is not there' : 'keeps no WAL'
      throw new WalferryError('SLOT_MISSING', `the slot "${name}" ${is}, and --require-slot forbids to create it`, {
        hint: `Create it there: SELECT pg_create_physical_replication_slot('${name}', true). If that server is promoted, WAL is lost without it.`,
      })
    }
    if (found.state === 'unreserved') await client.dropSlot(name, signal)
    try {
      await client.createSlot(name, signal)
      log.info(`created the slot on ${describeHost(host)}`, { slot: name })
    } catch (error) {
      const exists = isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '42710'
      if (!exists || found.state !== 'unreadable') throw error
      const message = `the slot on ${describeHost(host)} can be neither read nor advanced, and keeps WAL until somebody moves it`
      const hint = `The role needs an ordinary connection there: database "${this.#options.target.database}" in pg_hba.conf.`
      this.#tell(host, 'unreadable', message, { slot: name, hint })
      return found
    }
    return await client.readSlot(name, signal)
  }

  #isWell(host: Host, isOld: boolean): void {
    this.#stuckAt.delete(host)
    if (!isOld) this.#told.delete(host)
  }

  /** Once for each reason, and then to who looks closely. */
  #tell(host: Host, reason: string, message: string, fields: Readonly<Record<string, unknown>>): void {
    const told = this.#told.get(host) ?? new Set()
    this.#told.set(host, told)
    if (told.has(reason)) this.#options.log.debug(message, fields)
    else this.#options.log.warn(message, fields)
    told.add(reason)
  }
}

function foreign(server: ServerIdentity, streamed: Streamed): WalferryError {
  const { systemIdentifier } = streamed.server
  return new WalferryError(
    'SERVER_FOREIGN',
    `it has system identifier ${server.systemIdentifier}, and ${describeHost(streamed.host)} has ${systemIdentifier}`,
    { hint: 'Name only servers of one cluster in --url.' },
  )
}
