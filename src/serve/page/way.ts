/** Where does it hang, in detail: the stages of the WAL, the facts about each place, and what needs a hand. */
import type { Status } from '../status.ts'
import type { Level } from './answers.ts'
import { element } from './dom.ts'
import { agoText, bytesText, countText, durationText, minuteText } from './format.ts'

type Fact = readonly [name: string, value: string]

/** Server > received > synced > shipped, and what waits before each. */
export function stagesOf({ positions, lag, state }: Status): HTMLElement[] {
  const stages = [
    ['Server has', positions?.server, null],
    ['Received', positions?.received, lag.receive],
    ['Synced to the spool', positions?.synced, lag.sync],
    ['Shipped to the store', positions?.shipped, lag.ship],
  ] as const
  return stages.map(([name, lsn, behind]) => {
    const level: Level = lsn === undefined ? 'unknown' : levelOf(behind?.seconds ?? (state === 'streaming' ? 0 : null))
    const text = behind === null ? `The receiver is ${state}` : waitingText(behind)
    return element(
      'li',
      { 'data-level': level },
      element('h3', {}, name),
      element('p', { class: 'lsn' }, lsn ?? 'not known'),
      element('p', { class: 'lag' }, element('span', { class: 'mark', 'aria-hidden': 'true' }), text),
    )
  })
}

function levelOf(seconds: number | null): Level {
  if (seconds === null) return 'unknown'
  return seconds >= 60 ? 'bad' : seconds >= 10 ? 'warning' : 'good'
}

function waitingText({ bytes, seconds }: Status['lag']['ship']): string {
  return bytes === 0 ? 'Nothing waits' : `${bytesText(bytes)} wait, for ${durationText(seconds)}`
}

export function factsOf(status: Status): HTMLElement[] {
  return [
    facts('Server', serverFacts(status)),
    facts('Slot', slotFacts(status)),
    facts('Spool', spoolFacts(status)),
    facts('Store', storeFacts(status)),
    facts('Backups', backupFacts(status)),
  ]
}

function facts(title: string, told: readonly Fact[]): HTMLElement {
  const list = told.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])
  return element('section', { 'aria-label': title }, element('h3', {}, title), element('dl', {}, ...list))
}

function serverFacts({ server, state }: Status): Fact[] {
  if (server === null) return [['State', state]]
  return [
    ['State', state],
    ['Host', server.host],
    ['Version', server.version ?? 'not known'],
    ['Timeline', String(server.timeline)],
    ['System', server.systemIdentifier],
  ]
}

function slotFacts({ slot, at }: Status): Fact[] {
  if (slot === null) return [['State', 'not known: the server cannot be asked']]
  const safe = slot.safeBytes === null ? 'without a limit' : slot.safeBytes <= 0 ? 'none' : bytesText(slot.safeBytes)
  return [
    ['Name', slot.name],
    ['State', slot.walStatus],
    ['Keeps', slot.retainedBytes === null ? 'not known' : `${bytesText(slot.retainedBytes)} of WAL`],
    ['Room', safe],
    ['Asked', agoText(Date.parse(slot.askedAt), Date.parse(at))],
  ]
}

function spoolFacts({ spool }: Status): Fact[] {
  const { diskFreeBytes, diskBytes } = spool
  const share = diskFreeBytes === null || diskBytes === null || diskBytes === 0 ? null : diskFreeBytes / diskBytes
  const disk =
    diskFreeBytes === null
      ? 'not known'
      : `${bytesText(diskFreeBytes)} free${share === null ? '' : ` (${Math.floor(share * 100)} %)`}`
  return [
    ['Folder', spool.folder],
    ['Holds', `${bytesText(spool.bytes)}, ${countText(spool.segments, 'segment')} to ship`],
    ['Disk', disk],
  ]
}

function storeFacts({ store, at }: Status): Fact[] {
  const { problem, lastUploadAt, uploadsInFlight } = store
  return [
    ['Place', store.url],
    ['State', problem === null ? 'answers' : `${problem.code}: ${problem.message}`],
    ['Last upload', lastUploadAt === null ? 'none yet' : agoText(Date.parse(lastUploadAt), Date.parse(at))],
    ['Under way', countText(uploadsInFlight, 'upload')],
  ]
}

function backupFacts({ backup, gaps, at }: Status): Fact[] {
  const now = Date.parse(at)
  const { lastSuccessAt, lastFailureAt, schedule, nextAt, running } = backup
  const told: Fact[] = [
    ['Newest', lastSuccessAt === null ? 'none known' : agoText(Date.parse(lastSuccessAt), now)],
    ['Schedule', schedule ?? 'none'],
  ]
  if (running) told.push(['Now', 'one is being taken'])
  else if (nextAt !== null) told.push(['Next', minuteText(Date.parse(nextAt))])
  if (lastFailureAt !== null) told.push(['Failed', agoText(Date.parse(lastFailureAt), now)])
  told.push(['Gaps', gaps === null ? 'not known' : gaps.length === 0 ? 'none' : `${gaps.length} not acknowledged`])
  return told
}

export function problemsOf({ reasons }: Status): HTMLElement[] {
  return reasons.map(({ code, message, hint }) => {
    const told = [element('p', {}, element('code', {}, code), ` ${message}`)]
    if (hint !== undefined) told.push(element('p', { class: 'hint' }, `What to do: ${hint}`))
    return element('li', {}, ...told)
  })
}
