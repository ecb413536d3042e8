/** Where does it hang, in detail: the stages of the WAL with the facts about each place, and what needs a hand. */
import type { Status } from '../status.ts'
import type { Level } from './answers.ts'
import { type Child, element } from './dom.ts'
import { agoText, bytesText, durationText, minuteText, rateText, spoolText } from './format.ts'

/** A name, and what is told: some text, and a picture of it. */
type Fact = readonly [name: string, ...told: readonly Child[]]

/** Server > received > synced > shipped, and what waits before each. */
export function stagesOf(status: Status): HTMLElement[] {
  const { positions, lag, state, store } = status
  const isStreaming = state === 'streaming'
  const flows: Level = isStreaming ? 'good' : 'bad'
  const server = isStreaming ? 'Connected' : 'Not connected'
  const [shippingLevel, shippingText] = waiting(lag.ship)
  const shipping = [store.problem === null ? shippingLevel : 'bad', shippingText] as const
  return [
    stage('Server', positions?.server, [flows, server], serverFacts(status)),
    stage('Received', positions?.received, waiting(lag.receive), slotFacts(status)),
    stage('Synced to the spool', positions?.synced, waiting(lag.sync), spoolFacts(status)),
    stage('Shipped to the store', positions?.shipped, shipping, storeFacts(status)),
  ]
}

function stage(
  name: string,
  lsn: string | undefined,
  [level, text]: readonly [Level, string],
  facts: readonly Fact[],
): HTMLElement {
  return element(
    'li',
    { 'data-level': level },
    element('h3', {}, name),
    element('p', { class: 'lsn' }, lsn ?? 'not known'),
    element('p', { class: 'lag' }, element('span', { class: 'mark', 'aria-hidden': 'true' }), text),
    factList(facts),
  )
}

function waiting({ bytes, seconds }: Status['lag']['ship']): [Level, string] {
  const level = seconds >= 60 ? 'bad' : seconds >= 10 ? 'warning' : 'good'
  return [level, bytes === 0 ? 'Nothing waits' : `${bytesText(bytes)} wait, for ${durationText(seconds)}`]
}

export function factList(facts: readonly Fact[]): HTMLElement {
  const told = facts.map(([name, ...value]) => element('div', {}, element('dt', {}, name), element('dd', {}, ...value)))
  return element('dl', {}, ...told)
}

function serverFacts({ server }: Status): Fact[] {
  if (server === null) return []
  return [
    ['Host', server.host],
    ['PostgreSQL', server.version ?? 'not known'],
    ['Timeline', String(server.timeline)],
    ['System', server.systemIdentifier],
  ]
}

function slotFacts({ slot, state, rate, at }: Status): Fact[] {
  const told: Fact[] = [
    ['Receiver', state],
    ['Rate', rateText(rate.receivedBytesPerSecond)],
  ]
  if (slot === null) return [...told, ['Slot', 'not known: the server cannot be asked']]
  const asked = agoText(Date.parse(slot.askedAt), Date.parse(at))
  return [...told, ['Slot', `${slot.name}: ${slot.walStatus} (asked ${asked})`], ...slotRoom(slot)]
}

function slotRoom({ safeBytes, retainedBytes }: NonNullable<Status['slot']>): Fact[] {
  const told: Fact[] = retainedBytes === null ? [] : [['Keeps', `${bytesText(retainedBytes)} of WAL`]]
  if (safeBytes === null) return [...told, ['Limit', 'none']]
  const safe = Math.max(0, safeBytes)
  const kept = retainedBytes ?? 0
  return [...told, ['Room', `${bytesText(safe)} until WAL is taken away `, usedMeter(kept, kept + safe, 'Slot')]]
}

function spoolFacts({ spool }: Status): Fact[] {
  const { diskFreeBytes: free, diskBytes: size } = spool
  const told: Fact[] = [
    ['Folder', spool.folder],
    ['Holds', spoolText(spool)],
  ]
  if (free === null) return told
  if (size === null) return [...told, ['Disk', `${bytesText(free)} free`]]
  return [...told, ['Disk', `${bytesText(free)} of ${bytesText(size)} free `, usedMeter(size - free, size, 'Disk')]]
}

function usedMeter(used: number, size: number, name: string): HTMLElement {
  const percent = size === 0 ? 100 : Math.round((100 * used) / size)
  const bounds = { min: '0', max: '100', low: '80', high: '90', optimum: '0' }
  return element('meter', { ...bounds, value: String(percent), 'aria-label': `${name}: ${percent} % used` })
}

function storeFacts({ store, rate, at }: Status): Fact[] {
  const { problem, lastUploadAt, uploadsInFlight } = store
  return [
    ['Store', store.url],
    ['State', problem === null ? 'no problem' : problem.code],
    ['Rate', rateText(rate.shippedBytesPerSecond)],
    [
      'Uploads',
      `${uploadsInFlight} under way, last ${lastUploadAt === null ? 'none yet' : agoText(Date.parse(lastUploadAt), Date.parse(at))}`,
    ],
  ]
}

/** @param newest when the newest base backup of the archive was finished, where that is known. */
export function backupFacts({ backup, gaps, at }: Status, newest: number | null): Fact[] {
  const now = Date.parse(at)
  const { lastSuccessAt, lastFailureAt, schedule, nextAt, running } = backup
  const newestMs = Math.max(newest ?? 0, lastSuccessAt === null ? 0 : Date.parse(lastSuccessAt))
  const told: Fact[] = [
    ['Newest base backup', newestMs === 0 ? 'none known' : agoText(newestMs, now)],
    ['Schedule', schedule ?? 'none'],
  ]
  if (running) told.push(['Now', 'one is being taken'])
  else if (nextAt !== null) told.push(['Next', minuteText(Date.parse(nextAt))])
  if (lastFailureAt !== null) told.push(['Failed', agoText(Date.parse(lastFailureAt), now)])
  told.push(['Gaps to acknowledge', gaps === null ? 'not known' : String(gaps.length)])
  return told
}

export function problemsOf({ reasons }: Status): HTMLElement[] {
  return reasons.map(({ code, message, hint }) => {
    const told = [element('p', {}, element('code', {}, code), ` ${message}`)]
    if (hint !== undefined) told.push(element('p', { class: 'hint' }, `What to do: ${hint}`))
    return element('li', {}, ...told)
  })
}
