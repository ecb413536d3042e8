/** What a receiver's answers come from: stages, slot, spool, store, backups, gaps. Pure. */
import { humanBytes, timeText } from '../audit/tell-listing.ts'
import type { Status } from '../serve/status.ts'
import { bytesBetween, parseLsn } from '../wal/lsn.ts'
import { type Answer, bar, type Canvas, drawAnswers, labelColumns, paint, type Said, type Tone } from './paint.ts'
import { agoText, durationText, secondsBetween } from './time-words.ts'

/** When the alerts come. */
const warningSeconds = 30
const badSeconds = 60

/** Of the table, but for its bars. */
const stageColumns = labelColumns + 44
const barCells = 20
const diskCells = 10
const diskWarningShare = 0.8
const diskBadShare = 0.9
const mostGaps = 3
/** What was asked longer ago is told with its age. */
const freshSeconds = 60

export function drawStages({ positions, lag }: Status, given: Canvas): string[] {
  const canvas = given.columns < stageColumns + barCells ? { ...given, hasBars: false } : given
  if (positions === null) return drawAnswers([{ label: 'Stage', text: 'nothing was received yet' }], canvas)
  const ends = canvas.hasBars ? `0 s${`${badSeconds} s`.padStart(barCells - 3)}` : ''
  const head = stageLine('Stage', 'position', 'behind', 'for', ends)
  const stage = (name: string, position: string, { bytes, seconds }: Status['lag']['ship']): string => {
    const tone = toneOf(seconds)
    const picture = paint(canvas, tone, bar(canvas, seconds / badSeconds, barCells))
    return stageLine(name, position, humanBytes(bytes), durationText(seconds), picture)
  }
  return [
    head,
    stageLine('  server', positions.server, '', '', ''),
    stage('  received', positions.received, lag.receive),
    stage('  synced', positions.synced, lag.sync),
    stage('  shipped', positions.shipped, lag.ship),
  ]
}

function stageLine(name: string, position: string, bytes: string, time: string, picture: string): string {
  return `${name.padEnd(labelColumns)}${position.padEnd(19)}${bytes.padEnd(12)}${time.padEnd(13)}${picture}`.trimEnd()
}

const slotStates: Readonly<Record<string, { readonly tone: Tone; readonly means: string }>> = {
  reserved: { tone: 'good', means: '' },
  extended: { tone: 'good', means: '' },
  unreserved: { tone: 'bad', means: ' (the server takes its WAL away at a next checkpoint)' },
  lost: { tone: 'bad', means: ' (the server has taken its WAL away)' },
  missing: { tone: 'bad', means: ' (the server has no such slot)' },
}

export function slotOf({ slot, at }: Status): Answer {
  const label = 'Slot'
  if (slot === null) return { label, text: 'not known: the server was not asked yet, or cannot be', tone: 'warning' }
  const { tone = 'warning', means = '' } = slotStates[slot.walStatus] ?? {}
  const parts = [`${slot.name}: ${slot.walStatus}${means}`]
  if (slot.retainedBytes !== null) parts.push(`keeps ${humanBytes(slot.retainedBytes)}`)
  if (slot.walStatus === 'reserved' || slot.walStatus === 'extended') {
    parts.push(slot.safeBytes === null ? 'no limit' : `${humanBytes(Math.max(0, slot.safeBytes))} more are safe`)
  }
  const age = secondsBetween(new Date(slot.askedAt), new Date(at))
  if (age > freshSeconds) parts.push(`as of ${durationText(age)} ago`)
  return { label, text: parts.join('; '), tone }
}

export function spoolOf({ spool }: Status, canvas: Canvas): Answer {
  const { folder, bytes, segments, diskFreeBytes, diskBytes } = spool
  const waiting = segments === 0 ? ', all of it shipped' : ` in ${counted(segments, 'segment')}`
  const held = bytes === 0 ? 'empty: all is shipped' : humanBytes(bytes) + waiting
  const more = [{ text: folder }]
  if (diskFreeBytes === null || diskBytes === null || diskBytes === 0) return { label: 'Spool', text: held, more }
  const used = 1 - Math.min(1, diskFreeBytes / diskBytes)
  const tone = used >= diskBadShare ? 'bad' : used >= diskWarningShare ? 'warning' : undefined
  const disk = `disk ${Math.round(used * 100)} % full, ${humanBytes(diskFreeBytes)} free`
  return { label: 'Spool', text: `${held}; ${disk} ${bar(canvas, used, diskCells)}`.trimEnd(), tone, more }
}

export function storeOf({ store, at }: Status): Answer {
  const last = store.lastUploadAt === null ? 'none yet' : agoText(new Date(store.lastUploadAt), new Date(at))
  const state = store.problem === null ? '' : `failing [${store.problem.code}]; `
  const text = `${state}last upload ${last}, ${store.uploadsInFlight} under way`
  return { label: 'Store', text, tone: store.problem === null ? undefined : 'bad', more: [{ text: store.url }] }
}

export function backupOf({ backup, at }: Status): Answer {
  const { schedule, nextAt, running } = backup
  const now = new Date(at)
  const success = backup.lastSuccessAt === null ? null : new Date(backup.lastSuccessAt)
  const failure = backup.lastFailureAt === null ? null : new Date(backup.lastFailureAt)
  const hasFailed = failure !== null && (success === null || success < failure)
  const parts = [success === null ? 'none is known' : `newest ${timeText(success)}, ${agoText(success, now)}`]
  if (hasFailed) parts.push(`the last one FAILED ${agoText(failure, now)}`)
  if (running) parts.push('one is being taken')
  else if (nextAt !== null) parts.push(`next in ${durationText(secondsBetween(now, new Date(nextAt)))}`)
  const more = schedule === null ? [] : [{ text: `schedule ${schedule}` }]
  return { label: 'Backup', text: parts.join('; '), tone: hasFailed || success === null ? 'bad' : undefined, more }
}

export function gapsOf({ gaps }: Status): Answer {
  const label = 'Gaps'
  if (gaps === null) return { label, text: 'not known: the archive could not be asked yet', tone: 'warning' }
  if (gaps.length === 0) return { label, text: 'none' }
  const more: Said[] = gaps.slice(0, mostGaps).map(({ timeline, from, to }) => {
    const bytes = humanBytes(bytesBetween(parseLsn(from), parseLsn(to)))
    return { text: `timeline ${timeline}, ${from} to ${to} (${bytes})` }
  })
  if (gaps.length > mostGaps) more.push({ text: `and ${gaps.length - mostGaps} more` })
  return {
    label,
    text: `${counted(gaps.length, 'gap')} that nobody has acknowledged: WAL is missing`,
    tone: 'bad',
    more,
  }
}

export function toneOf(seconds: number): Tone {
  return seconds >= badSeconds ? 'bad' : seconds >= warningSeconds ? 'warning' : 'good'
}

/** `1 segment`, `3 segments`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
