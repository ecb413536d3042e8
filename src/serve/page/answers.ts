/** The four answers, each as a few big words and one line, and the verdict above them. */
import type { ToldListing } from '../../audit/told-listing.ts'
import type { ArchiveAnswer } from '../archive-view.ts'
import { endsShort } from '../ends-short.ts'
import type { History } from '../samples.ts'
import type { Status } from '../status.ts'
import { agoText, bytesText, countText, durationText, minuteText, rateText, timeText } from './format.ts'
import { windowOf } from './time-line.ts'
import { trendOf } from './trend.ts'

/** Told by a word and a shape, too, not by colour alone. */
export type Level = 'good' | 'warning' | 'bad' | 'unknown'

export interface Answer {
  readonly level: Level
  readonly big: string
  readonly line: string
}

/** As in the alerts. */
const warningSeconds = 30
const badSeconds = 60
const heldSeconds = 10 // what a stage may hold back before it is where it hangs
const oldBackupHours = 36
const heardMs = 60_000 // an idle server speaks every half minute at the latest, and then nothing is amiss

/** Changes only when something has happened: it is read out each time. */
export function verdict(status: Status): Answer {
  const [first, ...others] = status.reasons
  if (first === undefined) return { level: 'good', big: 'Ready', line: 'WAL flows, and nothing needs a hand.' }
  const more = others.length === 0 ? '' : ` And ${countText(others.length, 'other problem')}.`
  return { level: 'bad', big: 'Not ready', line: `${first.code}: ${first.message}.${more}` }
}

/** What stands there instead when the receiver does not answer. */
export function silence(last: Status | null): Answer {
  const since = last === null ? 'yet' : `since ${last.at.slice(0, 10)} ${last.at.slice(11, 19)} UTC`
  const below = last === null ? '' : ' What stands below is from then.'
  return { level: 'bad', big: 'No answer', line: `walferry has not answered ${since}.${below} Asking again …` }
}

/** And when it answers, and this page fails to show that. */
export const notShown: Answer = {
  level: 'bad',
  big: 'Not shown',
  line: 'walferry answers, but this page cannot show what it says. What stands below may be old: reload the page, or ask walferry status.',
}

/** How much would we lose now? */
export function lossAnswer(status: Status): Answer {
  const told = lossOfWal(status)
  if (!endsShort(status)) return told
  return { ...told, level: 'bad', line: `${told.line} But no base backup leads to what the store has.` }
}

function lossOfWal(status: Status): Answer {
  const { lossSeconds, lag } = status
  if (lossSeconds === null) {
    return { level: 'unknown', big: 'Not known', line: 'Nothing is known yet of how far the store reaches.' }
  }
  const level = lossSeconds >= badSeconds ? 'bad' : lossSeconds >= warningSeconds ? 'warning' : 'good'
  const here = lag.sync.bytes + lag.ship.bytes
  const there = lag.receive.bytes
  const parts = [
    here === 0 ? '' : `${bytesText(here)} of WAL are only on this machine`,
    there === 0 ? '' : `${bytesText(there)} only on the server`,
  ].filter((part) => part !== '')
  if (parts.length > 0) return { level, big: durationText(lossSeconds), line: `${parts.join(', ')}.` }
  if (status.state === 'streaming') {
    return { level, big: durationText(lossSeconds), line: 'All WAL that the server has is in the store.' }
  }
  const line = 'What is here is in the store; what the server has written since is not known.'
  return { level, big: durationText(lossSeconds), line }
}

/** Is it getting worse? */
export function trendAnswer(status: Status, history: History | null): Answer {
  const { receivedBytesPerSecond: into, shippedBytesPerSecond: out } = status.rate
  const rates = `In ${rateText(into)}, out ${rateText(out)}.`
  const trend = history === null ? null : trendOf(history.recent.series.loss, history.recent.stepMs)
  if (trend === null || trend.way === 'unknown') {
    return { level: 'unknown', big: 'Not known yet', line: `It takes a minute or two. ${rates}` }
  }
  const minutes = `${Math.round(trend.overMs / 60_000)} min`
  const change = `Loss over the last ${minutes}: ${durationText(trend.from)} → ${durationText(trend.to)}.`
  if (trend.way === 'growing') {
    return {
      level: trend.to >= badSeconds ? 'bad' : 'warning',
      big: 'Yes, growing',
      line: `${change} ${rates}${full(status)}`,
    }
  }
  if (status.state !== 'streaming') {
    return { level: 'warning', big: 'Not known', line: 'No server is connected: what it writes meanwhile is not seen.' }
  }
  const big = trend.way === 'shrinking' ? 'No, catching up' : 'No, steady'
  return {
    level: trend.to >= badSeconds && trend.way === 'steady' ? 'warning' : 'good',
    big,
    line: `${change} ${rates}`,
  }
}

/** When the spool's disk is full at this rate; '' when that is days away. */
function full({ rate, spool }: Status): string {
  const growth = rate.receivedBytesPerSecond - rate.shippedBytesPerSecond
  if (growth <= 0 || spool.diskFreeBytes === null) return ''
  const seconds = spool.diskFreeBytes / growth
  return seconds > 2 * 86_400 ? '' : ` At this rate the spool's disk is full in ${durationText(seconds)}.`
}

const culprits: readonly (readonly [codes: RegExp, where: string])[] = [
  [/^(?:STORE_|KEY_)/, 'At the store'],
  [/^(?:ARCHIVE_|ENCRYPTION_|GAP_)/, 'In the archive'],
  [/^SPOOL_/, 'In the spool'],
  [/^SLOT_/, 'At the slot'],
  [/^(?:PG_|SERVER_|WAL_|TIMELINE_)/, 'At the server'],
]

/** Where does it hang? */
export function hangAnswer(status: Status): Answer {
  const [first] = status.reasons
  if (first !== undefined) {
    const where = culprits.find(([codes]) => codes.test(first.code))?.[1] ?? 'Not streaming yet'
    return {
      level: 'bad',
      big: where,
      line: `${countText(status.reasons.length, 'problem')}, told below with what to do.`,
    }
  }
  const stages = [
    ['Receiving', 'from the server', status.lag.receive],
    ['Syncing', 'to the disk of the spool', status.lag.sync],
    ['Shipping', 'to the store', status.lag.ship],
  ] as const
  const slow = stages.toSorted((a, b) => b[2].seconds - a[2].seconds)[0]
  if (slow !== undefined && slow[2].seconds >= heldSeconds) {
    const level = slow[2].seconds >= badSeconds ? 'bad' : 'warning'
    return { level, big: slow[0], line: `WAL waits for ${durationText(slow[2].seconds)} on its way ${slow[1]}.` }
  }
  return { level: 'good', big: 'Nowhere', line: 'Each stage passes WAL on within seconds.' }
}

/** To which moment can I restore? The receiver says it; since when and how safely, what is known of the archive. */
export function restoreAnswer(status: Status, archive: ArchiveAnswer | null): Answer {
  const { restorable, backup } = status
  const now = Date.parse(status.at)
  const listing = archive?.listing ?? null
  if (restorable === null) {
    const hasFailed = archive !== null && archive.problem !== null
    const line = hasFailed ? 'Whether a base backup leads anywhere is not known.' : 'The archive is being looked at …'
    return { level: 'unknown', big: 'Not known', line }
  }
  if (restorable.time === null) {
    const why =
      backup.lastSuccessAt === null ? 'There is no base backup' : 'No base backup has all the WAL that it needs'
    return { level: 'bad', big: 'To none', line: `${why}: take one with "walferry backup".` }
  }
  const endMs = Date.parse(restorable.time)
  const isShort = endsShort(status)
  const window = listing === null || restorable.backup === null ? undefined : windowOf(listing, restorable.backup)
  // A listing is older than what the receiver says: it may not have that backup yet.
  const lastMs = backup.lastSuccessAt === null ? null : Date.parse(backup.lastSuccessAt)
  const backupMs = listing === null || window === undefined ? lastMs : newestBackup(listing)
  const isOld = backupMs === null || now - backupMs > oldBackupHours * 3_600_000
  const why = restorable.beforeGap ? 'Behind it WAL is missing' : 'No base backup leads to the WAL behind it'
  const line = [
    now - endMs < heardMs ? '' : `That is ${agoText(endMs, now)}.`,
    window === undefined ? '' : `Any moment since ${minuteText(Date.parse(window.from.time))}.`,
    backupMs === null ? '' : `Newest base backup ${agoText(backupMs, now)}.`,
    isShort ? `${why}: take a base backup.` : '',
  ]
    .filter((part) => part !== '')
    .join(' ')
  return { level: isShort ? 'bad' : isOld ? 'warning' : 'good', big: timeText(endMs, now), line }
}

/** When the newest usable base backup was finished. */
export function newestBackup({ backups }: ToldListing): number | null {
  const ends = backups.flatMap(({ finishTime, usable }) =>
    usable && finishTime !== null ? [Date.parse(finishTime)] : [],
  )
  return ends.length === 0 ? null : Math.max(...ends)
}
