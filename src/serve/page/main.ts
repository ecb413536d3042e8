/** The status page: asks the receiver, and shows what it says. Each part is drawn again only when its answer has come. */
import type { ArchiveAnswer } from '../archive-view.ts'
import type { History, Thinned } from '../samples.ts'
import type { Status } from '../status.ts'
import { waitsForSlot } from '../waiting.ts'
import {
  type Answer,
  hangAnswer,
  lossAnswer,
  newestBackup,
  notShown,
  restoreAnswer,
  silence,
  trendAnswer,
  verdict,
} from './answers.ts'
import { archiveChart } from './archive-chart.ts'
import { archiveLegend, archiveTables } from './archive-words.ts'
import { byId, element, setText, update } from './dom.ts'
import { Figure } from './figure.ts'
import { flowPicture, flowTables, lagLook, rateLook } from './flow-charts.ts'
import { agoText, countText, durationText } from './format.ts'
import type { ChartLook } from './line-chart.ts'
import { poll } from './poll.ts'
import { timeLine } from './time-line.ts'
import { waitingLoss, waitingTrend, waitingVerdict } from './waiting.ts'
import { backupFacts, factList, problemsOf, stagesOf } from './way.ts'

const statusEveryMs = 2000
const historyEveryMs = 10_000
const archiveEveryMs = 60_000
const lookingEveryMs = 2000
const failedEveryMs = 10_000 // as soon as it is looked again
const staleAfterMs = 5000 // two answers that did not come

let status: Status | null = null
let history: History | null = null
let archive: ArchiveAnswer | null = null
let span: keyof History = 'recent'
/** When the last answer came, on a clock that nobody sets. */
let heardMs = performance.now()
/** When the last answer was shown. */
let shownMs = heardMs

const lagFigure = flowFigure('lag-chart', lagLook)
const rateFigure = flowFigure('rate-chart', rateLook)
const archiveFigure = new Figure('archive-chart', { picture: archivePicture, tables: archiveFigureTables })

function flowFigure(id: string, look: ChartLook): Figure {
  return new Figure(id, {
    picture: (width) => flowPicture(look, chosenHistory(), status, width),
    tables: () => flowTables(look, chosenHistory()),
  })
}

function chosenHistory(): Thinned | null {
  return history?.[span] ?? null
}

function archivePicture(width: number): Element[] {
  const listing = archive?.listing ?? null
  if (listing === null) return []
  const line = timeLine(listing, status?.restorable ?? null, nowMs())
  if (line === null) return [element('p', {}, 'There is no base backup yet: take one with "walferry backup".')]
  return [archiveChart(line, width), archiveLegend()]
}

function archiveFigureTables(): HTMLElement[] {
  const listing = archive?.listing ?? null
  return listing === null ? [] : archiveTables(listing, nowMs())
}

/** The receiver's clock, as far as it was heard. */
function nowMs(): number {
  return status === null ? Date.now() : Date.parse(status.at) + performance.now() - heardMs
}

function showAnswer(id: string, { level, big, line }: Answer): void {
  const place = byId(id)
  place.dataset['level'] = level
  const texts = [
    ['.big .text', big],
    ['.line', line],
  ] as const
  for (const [selector, text] of texts) {
    const node = place.querySelector<HTMLElement>(selector)
    if (node !== null) setText(node, text)
  }
}

function showVerdict({ level, big, line }: Answer): void {
  const host = status === null || status.server === null ? '' : `of ${status.server.host}`
  byId('verdict').dataset['level'] = level
  setText(byId('verdict-big'), big)
  setText(byId('verdict-line'), line)
  setText(byId('of'), host)
  document.title = `${big} · walferry ${host}`.trim()
}

function showStatus(told: Status): void {
  // Another build serves the page now, and its answers may be others than this script knows.
  if (status !== null && status.version !== told.version) location.reload()
  status = told
  showAnswers(told)
  byId('problems-section').hidden = told.reasons.length === 0
  update(byId('problems'), problemsOf(told))
  update(byId('way'), stagesOf(told))
  showArchiveNote()
  const running = durationText((Date.parse(told.at) - Date.parse(told.startedAt)) / 1000)
  setText(byId('about'), `walferry ${told.version}, running for ${running}. All times are UTC.`)
  // Last: it must not say that all is well above what could not be shown.
  showVerdict(waitsForSlot(told) ? waitingVerdict(told) : verdict(told))
}

/** What follows from more than one of the answers. */
function showAnswers(told: Status): void {
  const isWaiting = waitsForSlot(told)
  showAnswer('loss', isWaiting ? waitingLoss(told) : lossAnswer(told))
  showAnswer('trend', isWaiting ? waitingTrend : trendAnswer(told, history))
  showAnswer('hang', hangAnswer(told))
  showAnswer('restore', restoreAnswer(told, archive))
  const listing = archive?.listing ?? null
  update(byId('backups'), [factList(backupFacts(told, listing === null ? null : newestBackup(listing)))])
}

function showArchive(told: ArchiveAnswer): void {
  archive = told
  archiveFigure.redraw()
  showArchiveNote()
  if (status !== null) showAnswers(status)
}

/** Its age grows while nothing new comes. */
function showArchiveNote(): void {
  if (archive === null) return
  const note = byId('archive-note')
  note.dataset['level'] = archive.problem === null ? 'good' : 'bad'
  setText(note, archiveNote(archive))
}

function archiveNote({ at, listing, problem }: ArchiveAnswer): string {
  const age = at === null ? '' : `as of ${agoText(Date.parse(at), nowMs())}`
  if (problem !== null) {
    const known = at === null ? 'Nothing is known of it yet.' : `What is shown is ${age}.`
    return `It could not be looked at: ${problem.code}: ${problem.message}. ${known}`
  }
  if (listing === null) return 'It is being looked at …'
  const { backups, windows, gaps } = listing
  const counts = [
    countText(backups.length, 'base backup'),
    countText(windows.length, 'window'),
    countText(gaps.length, 'gap'),
  ]
  return `${counts.join(', ')}; ${age}`
}

/** The page says by itself when what it shows is old; the next answer takes that back. */
function showStale(): void {
  const now = performance.now()
  if (now - shownMs < staleAfterMs) return
  document.body.classList.add('is-stale')
  showVerdict(now - heardMs < staleAfterMs ? notShown : silence(status))
}

poll<Status>({
  path: '/status.json',
  onAnswer: (told) => {
    heardMs = performance.now()
    showStatus(told)
    shownMs = heardMs
    document.body.classList.remove('is-stale')
  },
  onFailure: showStale,
  nextMs: () => statusEveryMs,
})
poll<History>({
  path: '/history.json',
  onAnswer: (told) => {
    history = told
    lagFigure.redraw()
    rateFigure.redraw()
    if (status !== null) showAnswers(status)
  },
  nextMs: () => historyEveryMs,
})
poll<ArchiveAnswer>({
  path: '/archive.json',
  onAnswer: showArchive,
  nextMs: (told) => {
    if (told?.isLooking === true) return lookingEveryMs
    return told === null || told.problem !== null ? failedEveryMs : archiveEveryMs
  },
})
byId('span').addEventListener('change', () => {
  span = document.querySelector<HTMLInputElement>('input[name="span"]:checked')?.value === 'all' ? 'all' : 'recent'
  lagFigure.redraw()
  rateFigure.redraw()
})
