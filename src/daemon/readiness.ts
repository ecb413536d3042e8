/**
 * Whether WAL flows and nothing needs a hand, and why not: what /readyz says, and the metrics `walferry_ready` and
 * `walferry_problem`.
 *
 * What needs a hand is a reason also while WAL flows: a gap that nobody has acknowledged (until then every recovery may
 * end before it), a slot for which the server does not keep WAL any more, or is about to stop. A base backup of the
 * schedule that failed is none: WAL flows without it, and metrics of its own tell of it.
 */
import { gapPlace } from '../archive/gaps.ts'
import type { GapName } from '../archive/keys.ts'
import type { WalferryError } from '../kit/errors.ts'
import type { ReceiverState } from '../receive/receiver.ts'
import type { Reason } from '../serve/routes.ts'
import { formatLsn } from '../wal/lsn.ts'
import type { SlotSeen } from './known.ts'
import { reasonOf } from './tell-status.ts'

export interface Readiness {
  readonly state: ReceiverState
  /** What is wrong with the server, the spool and the store. */
  readonly problems: readonly WalferryError[]
  readonly slotName: string
  readonly slot: SlotSeen | null
  readonly gaps: readonly GapName[] | null
}

/** Empty when it is ready. */
export function reasonsAgainst({ state, problems, slotName, slot, gaps }: Readiness): Reason[] {
  const reasons = problems.map(reasonOf)
  if (reasons.length === 0 && state !== 'streaming') {
    reasons.push({ code: 'NOT_STREAMING', message: `the receiver is ${state}` })
  }
  if (slot !== null) reasons.push(...againstSlot(slot, slotName))
  if (gaps !== null) reasons.push(...againstGaps(gaps))
  return reasons
}

function againstSlot({ walStatus }: SlotSeen, slot: string): Reason[] {
  if (walStatus === 'lost') {
    const message = `the server does not keep WAL for the slot ${slot} any more`
    return [{ code: 'SLOT_LOST', message, hint: 'It is made again with the next stream. Look why it was lost.' }]
  }
  if (walStatus !== 'unreserved') return []
  const message = `the server removes WAL that the slot ${slot} needs at its next checkpoint`
  const hint = 'Look why WAL is not received or, with --ack store, not shipped; or raise max_slot_wal_keep_size now.'
  return [{ code: 'SLOT_UNRESERVED', message, hint }]
}

function againstGaps([first, ...others]: readonly GapName[]): Reason[] {
  if (first === undefined) return []
  const { timeline, from, to } = first
  const more = others.length === 0 ? '' : `, and ${others.length} more`
  const which = others.length === 0 ? gapPlace(first) : '--all'
  return [
    {
      code: 'GAP_UNACKNOWLEDGED',
      message: `WAL of timeline ${timeline} is lost from ${formatLsn(from)} to ${formatLsn(to)}${more}`,
      hint: `No recovery can pass a gap: take a base backup. Then say that it is known: walferry acknowledge ${which}`,
    },
  ]
}
