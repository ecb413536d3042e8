/**
 * A receiver's status for a person: the four questions, one line each, and below what the answers come from. Pure.
 *
 *     Loss now        you would lose 0.8 s (1.2 MiB) if only the store were left
 *     Getting worse?  no: 24.0 MiB/s come in, 24.0 MiB/s are shipped
 *     Where it hangs  nowhere
 *     Restorable to   2026-11-21T11:12:03Z, 0.9 s ago; newest backup 3 h 5 min old
 */
import { humanBytes, timeText } from '../audit/tell-listing.ts'
import { endsShort } from '../serve/ends-short.ts'
import type { Status } from '../serve/status.ts'
import { waitsForSlot } from '../serve/waiting.ts'
import { holdUpOf } from './hold-up.ts'
import { type Answer, type Canvas, drawAnswers, needsHand, type Said } from './paint.ts'
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

function lossOf(status: Status): Answer {
  const told = lossOfWal(status)
  if (!endsShort(status)) return told
  const { label } = told
  if (hasAll(status)) return { label, text: 'the store has all WAL, but no base backup leads there', tone: 'bad' }
  return { ...told, tone: 'bad', more: [{ text: 'and no base backup leads to the WAL that the store has' }] }
}

function lossOfWal(status: Status): Answer {
  const { lossSeconds, state } = status
  const label = 'Loss now'
  if (lossSeconds === null) {
    return { label, text: 'not known: no server has answered since the start', tone: 'warning' }
  }
  const tone = toneOf(lossSeconds)
  if (state !== 'streaming') {
    const text = `you would lose up to ${durationText(lossSeconds)}: no server is connected to tell more`
    return { label, text, tone }
  }
  if (hasAll(status)) return { label, text: 'you would lose nothing: the store has all that was written', tone }
  const bytes = humanBytes(missingBytes(status))
  const text = `you would lose ${durationText(lossSeconds)} (${bytes}) if only the store were left`
  return { label, text, tone }
}

/** Whether the store has all WAL that the server has. */
function hasAll(status: Status): boolean {
  return status.state === 'streaming' && status.lossSeconds === 0 && missingBytes(status) === 0
}

function missingBytes({ lag }: Status): number {
  return lag.receive.bytes + lag.sync.bytes + lag.ship.bytes
}

function restorableOf(status: Status): Answer {
  const { restorable, backup, at } = status
  const label = 'Restorable to'
  const now = new Date(at)
  const completed = backup.lastSuccessAt === null ? null : new Date(backup.lastSuccessAt)
  const base = completed === null ? '' : `; newest backup ${durationText(secondsBetween(completed, now))} old`
  if (restorable === null) return { label, text: `not known yet${base}`, tone: 'warning' }
  const { time, walTime, backup: name, beforeGap } = restorable
  if (time === null) {
    const none = completed === null ? 'there is no base backup' : 'no base backup has all the WAL that it needs'
    const more: Said[] = [{ text: 'hint: walferry backup takes one, walferry list shows which exist' }]
    if (walTime !== null) more.push({ text: `the stored WAL reaches ${timeText(new Date(walTime))}` })
    return { label, text: `none: ${none}, and WAL alone restores nothing`, tone: 'bad', more }
  }
  const text = `${timeText(new Date(time))}, ${agoText(new Date(time), now)}${base}`
  if (!endsShort(status)) return { label, text }
  const why = beforeGap
    ? 'newer WAL lies behind a gap: to get there takes a backup from behind it'
    : 'newer WAL is stored, and no backup leads there: it takes a new one'
  const more: Said[] = [{ text: why }, { text: `from ${name}` }]
  return { label, text, tone: 'bad', more }
}
