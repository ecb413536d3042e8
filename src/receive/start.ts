/**
 * Where streaming starts: one pure decision over what the server, its slot, the spool and the archive say.
 *
 * W is the furthest place that is synced in the spool, or stored without a hole in the archive. Streaming always starts
 * at the beginning of a segment, and what comes again is compared with what is here before anything is acknowledged: a
 * receiver that resumed in mid-segment would splice two histories when a server had gone back to a snapshot, and nothing
 * would ever say so.
 *
 * | case | what is known | start |
 * |---|---|---|
 * | first start | no W; the slot reserves WAL | the slot's segment, on the timeline that held it |
 * | the same | no W; the slot reserves none, or cannot be read | where the server is now, with a warning |
 * | the same line | W on the server's timeline, the server has it | W's segment |
 * | behind | W on the server's timeline, past a standby | SERVER_BEHIND, until it has caught up |
 * | lost WAL | W on the server's timeline, past a primary | SERVER_LOST_WAL |
 * | the past | W on an ancestor, before the line left it | W's segment, on W's timeline |
 * | the turn | W on an ancestor, where the line left it | the fork's segment, on the timeline that follows |
 * | lost branch | W on an ancestor, past where the line left it; or on a timeline beside the server's | the same |
 * | old primary | the server's timeline is W's past, or an older one beside it | SERVER_TIMELINE: not this server |
 * | removed | the server said that this start's WAL is gone, and a later timeline begins in its segment | there: its copy holds the bytes |
 * | gap | the same, and no timeline does | the segment from which the slot keeps WAL; what lies between is lost |
 * | stored | the same, the archive goes on behind a hole, and the slot keeps no WAL before its end | there; what the hole lacks is lost |
 *
 * What the archive lacks before W, and the spool does not hold, no start brings back: never-filled.ts says what that is.
 *
 * What is acknowledged, with a slot that is
 * - at or behind W: nothing before W, once the overlap was compared;
 * - ahead of W: all of it, at once; it moves the slot back, and that makes the server keep the WAL;
 * - the same, but W is further back than the server keeps WAL for a slot: nothing before the slot's position.
 */
import { WalferryError } from '../kit/errors.ts'
import type { Run } from '../archive/coverage.ts'
import type { ServerIdentity, SlotState } from '../pg/replication-client.ts'
import { isAncestor, leavesAt, partingOf, type TimelineHistory, timelineAt } from '../wal/history.ts'
import { bytesBetween, earlierOf, formatLsn, type Lsn, laterOf } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'

export interface StartFacts {
  readonly server: ServerIdentity
  /** The history of the server's timeline. */
  readonly line: TimelineHistory
  /** null: it could not be asked. Only looked at when the server is behind us. */
  readonly inRecovery: boolean | null
  readonly slot: SlotState
  /** W, or null if there is nothing yet. */
  readonly furthest: Place | null
  /** The history of W's timeline, or null if it is not known. Only looked at where that is not on the server's line. */
  readonly furthestLine: TimelineHistory | null
  /** max_slot_wal_keep_size; null for no limit. */
  readonly slotKeepBytes: number | null
  /** WAL of W's timeline that the archive has behind a hole; null where it has no hole. */
  readonly stored: Run | null
  /** Starts whose WAL the server has said is gone. */
  readonly removed: readonly Place[]
}

/** WAL of a timeline that the server discarded before anybody had it. */
export interface Gap {
  readonly timeline: number
  readonly from: Lsn
  readonly to: Lsn
}

export interface Start {
  readonly timeline: number
  /** A segment's first byte. */
  readonly lsn: Lsn
  /** Nothing is reported as flushed before the stream is durable up to here. */
  readonly acknowledgeFrom: Lsn
  /** Where the server's line left the one that is here, if what is here goes on behind that. */
  readonly fork: Lsn | null
  readonly gap: Gap | null
  /** What somebody should know about this start. */
  readonly warning: string | null
}

/** Throws SERVER_TIMELINE, SERVER_BEHIND, SERVER_LOST_WAL or WAL_REMOVED where nothing may be streamed. */
export function resumeFrom(facts: StartFacts): Start {
  const wanted = facts.furthest === null ? firstStart(facts) : startFrom(facts, facts.furthest)
  // Promotions in a row can all lie in one segment.
  let start: Start | null = wanted
  while (start !== null && isRemoved(facts, start)) start = startInCopy(facts, start)
  return start ?? startBehindStored(facts) ?? startBehindGap(facts, wanted)
}

function isRemoved(facts: StartFacts, start: Start): boolean {
  return facts.removed.some(({ timeline, lsn }) => timeline === start.timeline && lsn === start.lsn)
}

function firstStart(facts: StartFacts): Start {
  const { server, slot, line } = facts
  if (slot.state !== 'reserved') {
    const lsn = beginning(facts, server.flushedUpTo)
    const why = slot.state === 'unreadable' ? 'could not be read' : 'reserves no WAL'
    const warning = `the slot ${why}, so streaming starts where the server is now: WAL before ${formatLsn(lsn)} is not received`
    return { timeline: server.timeline, lsn, acknowledgeFrom: lsn, fork: null, gap: null, warning }
  }
  const lsn = beginning(facts, slot.restartLsn)
  const timeline = timelineOfSlot(slot.restartTimeline, slot.restartLsn, line)
  return { timeline, lsn, acknowledgeFrom: lsn, fork: null, gap: null, warning: null }
}

function startFrom(facts: StartFacts, furthest: Place): Start {
  const { server, line, furthestLine } = facts
  if (furthest.timeline === server.timeline) {
    if (furthest.lsn > server.flushedUpTo) throw serverBehind(facts, furthest)
    return startAt(facts, furthest)
  }
  const left = leavesAt(line, furthest.timeline)
  if (left !== null) return furthest.lsn < left ? startAt(facts, furthest) : turn(facts, furthest, left)
  if (furthestLine === null) {
    throw otherTimeline(
      facts,
      furthest,
      `Nothing here tells how timeline ${furthest.timeline} came about: its history file is neither in the spool nor in ` +
        'the archive. Put it back from pg_wal of a server that has it.',
    )
  }
  if (isAncestor(furthestLine, server.timeline) || server.timeline < furthest.timeline) {
    throw otherTimeline(
      facts,
      furthest,
      'It is an old primary, or was never promoted: its WAL is not streamed, because the archive has the newer line. ' +
        'Connect to the new primary (--url can name several hosts), or rewind this one.',
    )
  }
  return turn(facts, furthest, partingOf(line, furthestLine).at ?? furthest.lsn)
}

function startAt(facts: StartFacts, from: Place): Start {
  const lsn = beginning(facts, from.lsn)
  const acknowledgeFrom = acknowledgedFrom(facts, from.lsn, lsn)
  return { timeline: from.timeline, lsn, acknowledgeFrom, fork: null, gap: null, warning: null }
}

/** Goes on with the timeline that follows at `fork`, from the beginning of its first segment. */
function turn(facts: StartFacts, furthest: Place, fork: Lsn): Start {
  const start = startAt(facts, { timeline: timelineAt(facts.line, fork), lsn: fork })
  if (furthest.lsn === fork) return start
  const warning =
    `the server's line left timeline ${furthest.timeline} at ${formatLsn(fork)}: what is here from there to ` +
    `${formatLsn(furthest.lsn)} is on a branch that was left; it stays in the archive, and is not part of the new line`
  return { ...start, fork, warning }
}

/** The next timeline of the line, where it begins in the same segment: its first segment holds the same bytes. */
function startInCopy(facts: StartFacts, start: Start): Start | null {
  const fork = leavesAt(facts.line, start.timeline)
  if (fork === null || beginning(facts, fork) !== start.lsn) return null
  return { ...start, timeline: timelineAt(facts.line, fork) }
}

/**
 * Where the archive ends behind a hole: old WAL that somebody kept apart (that of a permanent backup) is not where a
 * receiver has to go on from. Null where the slot keeps WAL from before that: none of it is passed over.
 */
function startBehindStored(facts: StartFacts): Start | null {
  const { furthest, slot } = facts
  const stored = storedAhead(facts)
  if (furthest === null || stored === null) return null
  const start = startAt(facts, { timeline: furthest.timeline, lsn: stored.end })
  if (isRemoved(facts, start) || (slot.state === 'reserved' && slot.restartLsn < start.lsn)) return null
  return { ...start, gap: missing(facts, furthest, stored.end) }
}

/** What the archive has behind W and a hole, on the server's own timeline. */
function storedAhead({ server, furthest, stored }: StartFacts): Run | null {
  if (furthest === null || stored === null || furthest.timeline !== server.timeline) return null
  const isAhead = stored.from < stored.end && stored.end > furthest.lsn && stored.end <= server.flushedUpTo
  return isAhead ? stored : null
}

/** What is neither stored nor to be had on the way to where streaming starts. */
function missing(facts: StartFacts, from: Place, to: Lsn): Gap | null {
  const stored = storedAhead(facts)
  const { timeline, lsn } = from
  if (stored === null || to <= stored.from) return { timeline, from: lsn, to }
  // The hole before it was noted when streaming from its end was tried.
  if (to > stored.end) return { timeline, from: stored.end, to }
  return lsn < stored.from ? { timeline, from: lsn, to: earlierOf(to, stored.from) } : null
}

function startBehindGap(facts: StartFacts, start: Start): Start {
  const { slot, line, furthest } = facts
  const lsn = slot.state === 'reserved' ? beginning(facts, slot.restartLsn) : null
  if (slot.state !== 'reserved' || lsn === null || lsn <= start.lsn) {
    throw new WalferryError('WAL_REMOVED', `the server has removed WAL from ${formatLsn(start.lsn)} on`, {
      fields: { timeline: start.timeline, lsn: formatLsn(start.lsn) },
      retryable: true,
    })
  }
  const timeline = timelineOfSlot(slot.restartTimeline, slot.restartLsn, line)
  const behind = { ...start, timeline, lsn, acknowledgeFrom: lsn }
  if (isRemoved(facts, behind)) {
    throw new WalferryError('WAL_REMOVED', `the server lacks WAL that its slot reserves, from ${formatLsn(lsn)} on`, {
      fields: { timeline, lsn: formatLsn(lsn) },
      hint: 'Look whether files of pg_wal were deleted by hand.',
    })
  }
  // Without W nothing was promised yet.
  if (furthest === null) return { ...behind, gap: null }
  return { ...behind, gap: missing(facts, { timeline: start.timeline, lsn: start.fork ?? furthest.lsn }, lsn) }
}

function beginning(facts: StartFacts, lsn: Lsn): Lsn {
  const { segmentBytes } = facts.server
  return segmentStart(segnoOf(lsn, segmentBytes), segmentBytes)
}

/** Before 15 a slot tells no timeline. */
function timelineOfSlot(told: number | null, restartLsn: Lsn, line: TimelineHistory): number {
  return told !== null && (told === line.timeline || isAncestor(line, told)) ? told : timelineAt(line, restartLsn)
}

function acknowledgedFrom(facts: StartFacts, furthest: Lsn, start: Lsn): Lsn {
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

function otherTimeline({ server }: StartFacts, furthest: Place, hint: string): WalferryError {
  const message = `the server is on timeline ${server.timeline}, and what is here ends on ${furthest.timeline}`
  return new WalferryError('SERVER_TIMELINE', message, {
    fields: { server: server.timeline, here: furthest.timeline },
    hint,
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
