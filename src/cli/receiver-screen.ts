/**
 * A receiver's status for a person: the four questions, one line each, and below what the answers come from. Pure.
 *
 *     Loss now        you would lose 0.8 s (1.2 MiB) if only the store were left
 *     Getting worse?  no: 24.0 MiB/s come in, 24.0 MiB/s are shipped
 *     Where it hangs  nowhere
 *     Restorable to   2026-11-21T11:12:03Z, 0.9 s ago; newest backup 3 h 5 min old
 */
import { humanBytes, timeText } from '../audit/tell-listing.ts'
import type { Status } from '../serve/status.ts'
import { waitsForSlot } from '../serve/waiting.ts'
import { holdUpOf } from './hold-up.ts'
import { type Answer, type Canvas, drawAnswers, needsHand } from './paint.ts'
import { backupOf, drawStages, gapsOf, slotOf, spoolOf, storeOf, toneOf } from './receiver-details.ts'
import { agoText, durationText, secondsBetween } from './time-words.ts'
import { type Look, trendOf } from './trend.ts'
import { waitingLossOf, waitingTrend } from './waiting.ts'

/**
 * `url` is where the receiver was asked; `looks` are those remembered (trend.ts). What needs a hand comes first of the
 * details: on a small screen the last lines are not seen.
 */
export function drawReceiver(url: string, status: Status, looks: readonly Look[], canvas: Canvas): string[] {
  const details = [slotOf(status), spoolOf(status, canvas), storeOf(status), backupOf(status), gapsOf(status)]
  const isWaiting = waitsForSlot(status)
  const urgent = drawAnswers(details.filter(needsHand), canvas)
  return [
    ...drawAnswers([whoOf(url, status)], canvas),
    '',
    ...drawAnswers(
      [
        isWaiting ? waitingLossOf(status) : lossOf(status),
        { label: 'Getting worse?', ...(isWaiting ? waitingTrend : trendOf(status, looks)) },
        { label: 'Where it hangs', ...holdUpOf(status) },
        restorableOf(status),
      ],
      canvas,
    ),
    '',
    ...(urgent.length === 0 ? [] : [...urgent, '']),
    ...drawStages(status, canvas),
    '',
    ...drawAnswers(
      details.filter((one) => !needsHand(one)),
      canvas,
    ),
  ]
}

function whoOf(url: string, status: Status): Answer {
  const { server, state, version, reasons, startedAt, at } = status
  // Nothing but the slot is missing: half of a pair.
  const isAlone = waitsForSlot(status) && reasons.length === 1
  const standing = reasons.length === 0 ? 'ready' : isAlone ? 'WAITS FOR THE SLOT' : 'NOT READY'
  const up = durationText(secondsBetween(new Date(startedAt), new Date(at)))
  const own = { text: `walferry ${version} at ${url}, up ${up}` }
  return {
    label: 'Receiver',
    text: `${standing}: ${state}${server === null ? '' : ` from ${server.host}`}`,
    tone: reasons.length === 0 ? 'good' : isAlone ? 'warning' : 'bad',
    more: server === null ? [own] : [{ text: serverText(server) }, own],
  }
}

function serverText({ version, timeline, systemIdentifier }: NonNullable<Status['server']>): string {
  return `${version === null ? '' : `PostgreSQL ${version}, `}timeline ${timeline}, system ${systemIdentifier}`
}

function lossOf({ lossSeconds, lag, state }: Status): Answer {
  const label = 'Loss now'
  const bytes = lag.receive.bytes + lag.sync.bytes + lag.ship.bytes
  if (lossSeconds === null) {
    return { label, text: 'not known: no server has answered since the start', tone: 'warning' }
  }
  const tone = toneOf(lossSeconds)
  if (state !== 'streaming') {
    const text = `you would lose up to ${durationText(lossSeconds)}: no server is connected to tell more`
    return { label, text, tone }
  }
  if (bytes === 0 && lossSeconds === 0) {
    return { label, text: 'you would lose nothing: the store has all that was written', tone }
  }
  const text = `you would lose ${durationText(lossSeconds)} (${humanBytes(bytes)}) if only the store were left`
  return { label, text, tone }
}

function restorableOf({ restorableTime, backup, gaps, at }: Status): Answer {
  const label = 'Restorable to'
  if (backup.lastSuccessAt === null) {
    const text = 'none: no base backup is known, and WAL alone restores nothing'
    const hint = 'hint: walferry backup takes one, walferry list shows which exist'
    return { label, text, tone: 'bad', more: [{ text: hint }] }
  }
  const age = durationText(secondsBetween(new Date(backup.lastSuccessAt), new Date(at)))
  const base = `newest backup ${age} old`
  if (restorableTime === null) return { label, text: `not known yet; ${base}`, tone: 'warning' }
  const time = new Date(restorableTime)
  const text = `${timeText(time)}, ${agoText(time, new Date(at))}; ${base}`
  const gap = gaps?.at(-1)
  if (gap === undefined) return { label, text }
  const upTo = `surely only up to ${gap.from} on timeline ${gap.timeline}, where a gap begins; ${base}`
  const but = 'further only with a base backup that ended behind the gap: walferry list shows the windows'
  return { label, text: upTo, tone: 'bad', more: [{ text: but }] }
}
