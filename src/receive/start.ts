/**
 * Where streaming starts: one pure decision over what the server, its slot, the spool and the archive say.
 *
 * W is the furthest place on one line that is synced in the spool or stored without a hole in the archive. Streaming
 * always starts at the beginning of the segment that holds W, and what comes again is compared with what is here before
 * anything is acknowledged: a receiver that resumed in mid-segment would splice two histories when a server had gone
 * back to a snapshot, and nothing would ever say so.
 *
 * | case | W | slot | start | acknowledge from |
 * |---|---|---|---|---|
 * | first start | none | reserves WAL | its segment start | at once |
 * | slot behind W | any | at or before W | W's segment start | W, once the overlap was compared |
 * | slot ahead of W | any | after W | W's segment start | at once: it moves the slot back, which keeps that WAL |
 * | the same, too far | any | after W, and the server keeps less than it has since W | W's segment start | the slot's position |
 */
import { WalferryError } from '../kit/errors.ts'
import type { ServerIdentity, SlotState } from '../pg/replication-client.ts'
import { bytesBetween, formatLsn, type Lsn, laterOf } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'

export interface StartFacts {
  readonly server: ServerIdentity
  /** null: it could not be asked. Only looked at when the server is behind us. */
  readonly inRecovery: boolean | null
  readonly slot: SlotState
  /** W, or null if there is nothing yet. */
  readonly furthest: Place | null
  /** max_slot_wal_keep_size; null for no limit. */
  readonly slotKeepBytes: number | null
}

export interface Start {
  readonly timeline: number
  /** A segment's first byte. */
  readonly lsn: Lsn
  /** Nothing is reported as flushed before the stream is durable up to here. */
  readonly acknowledgeFrom: Lsn
  /** What somebody should know about this start. */
  readonly warning: string | null
}

/** Throws SERVER_TIMELINE, SERVER_BEHIND or SERVER_LOST_WAL where nothing may be streamed. */
export function resumeFrom(facts: StartFacts): Start {
  const { server, furthest } = facts
  const beginning = (lsn: Lsn): Lsn => segmentStart(segnoOf(lsn, server.segmentBytes), server.segmentBytes)
  if (furthest === null) return firstStart(facts, beginning)
  if (furthest.timeline !== server.timeline) {
    throw otherTimeline(`the server is on timeline ${server.timeline}, and what is here ends on ${furthest.timeline}`)
  }
  if (furthest.lsn > server.flushedUpTo) throw serverBehind(facts, furthest)
  const lsn = beginning(furthest.lsn)
  return { timeline: server.timeline, lsn, acknowledgeFrom: acknowledgeFrom(facts, furthest.lsn, lsn), warning: null }
}

function firstStart(facts: StartFacts, beginning: (lsn: Lsn) => Lsn): Start {
  const { server, slot } = facts
  if (slot.state !== 'reserved') {
    const lsn = beginning(server.flushedUpTo)
    const why = slot.state === 'unreadable' ? 'could not be read' : 'reserves no WAL'
    const warning = `the slot ${why}, so streaming starts where the server is now: WAL before ${formatLsn(lsn)} is not received`
    return { timeline: server.timeline, lsn, acknowledgeFrom: lsn, warning }
  }
  if (slot.restartTimeline !== null && slot.restartTimeline !== server.timeline) {
    throw otherTimeline(
      `the slot reserves WAL of timeline ${slot.restartTimeline}, and the server is on ${server.timeline}`,
    )
  }
  const lsn = beginning(slot.restartLsn)
  return { timeline: server.timeline, lsn, acknowledgeFrom: lsn, warning: null }
}

function acknowledgeFrom(facts: StartFacts, furthest: Lsn, start: Lsn): Lsn {
  if (facts.slot.state !== 'reserved' || facts.slot.restartLsn <= furthest) return furthest
  const back = bytesBetween(start, facts.server.flushedUpTo)
  // A slot moved further back than the server keeps WAL for would be invalidated on the spot.
  if (facts.slotKeepBytes !== null && back > facts.slotKeepBytes) return laterOf(furthest, facts.slot.restartLsn)
  return start
}

function serverBehind(facts: StartFacts, furthest: Place): WalferryError {
  const where = `what is here reaches ${formatLsn(furthest.lsn)}, the server's WAL only ${formatLsn(facts.server.flushedUpTo)}`
  const fields = { here: formatLsn(furthest.lsn), server: formatLsn(facts.server.flushedUpTo) }
  if (facts.inRecovery !== false) {
    const who = facts.inRecovery === true ? 'the standby' : 'the server, perhaps a standby,'
    return new WalferryError('SERVER_BEHIND', `${who} is behind: ${where}`, { fields, retryable: true })
  }
  return new WalferryError('SERVER_LOST_WAL', `the server has lost WAL: ${where}`, {
    fields,
    hint:
      'A primary never sends WAL that it could lose in a crash, so its disk was set back (a snapshot, or fsync = off). What is ' +
      'here may be the only copy of the lost commits. To follow this server, start with a new spool and a new archive.',
  })
}

function otherTimeline(message: string): WalferryError {
  return new WalferryError('SERVER_TIMELINE', message, {
    hint: 'Following a timeline switch is not supported yet. To follow this server, use a new spool and a new archive.',
  })
}

/** Where an identity is known from, for the message. */
export interface KnownIdentity {
  readonly systemIdentifier: bigint
  readonly segmentBytes: number
  /** `the spool /var/lib/walferry`, `the archive s3://bucket/prefix`. */
  readonly from: string
}

/** Throws SERVER_FOREIGN if the server is not the one that `known` comes from. */
export function checkIdentity(server: ServerIdentity, known: KnownIdentity): void {
  const hint =
    'Check --url, --spool and --store: each cluster needs a spool and an archive of its own. Nothing was written.'
  if (server.systemIdentifier !== known.systemIdentifier) {
    throw new WalferryError(
      'SERVER_FOREIGN',
      `the server has system identifier ${server.systemIdentifier}, and ${known.from} belongs to ${known.systemIdentifier}`,
      { hint },
    )
  }
  if (server.segmentBytes !== known.segmentBytes) {
    throw new WalferryError(
      'SERVER_FOREIGN',
      `the server has WAL segments of ${server.segmentBytes} bytes, and ${known.from} has ${known.segmentBytes}`,
      { hint },
    )
  }
}
