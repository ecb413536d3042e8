/** What goes with the time line of the archive: its legend, and the tables that say the same. */
import type { ToldListing } from '../../audit/told-listing.ts'
import { element, svgElement, table } from './dom.ts'
import { agoText, bytesText, minuteText } from './format.ts'

export function archiveLegend(): HTMLElement {
  const items = [
    [box('window'), 'any moment can be restored'],
    [box('gap'), 'cannot: WAL is missing'],
    [diamond('backup'), 'base backup'],
    [diamond('backup kept'), 'kept for good'],
    [diamond('backup broken', 'M11 4l6 6m0 -6l-6 6'), 'not usable'],
    [svgElement('line', { class: 'now', x1: 14, x2: 14, y1: 0, y2: 14 }), 'now'],
  ] as const
  return element(
    'ul',
    { class: 'legend' },
    ...items.map(([mark, text]) =>
      element('li', {}, svgElement('svg', { viewBox: '0 0 28 14', 'aria-hidden': 'true' }, mark), text),
    ),
  )
}

function box(className: string): SVGElement {
  return svgElement('rect', { class: className, x: 2, y: 2, width: 24, height: 10 })
}

function diamond(className: string, inside = ''): SVGElement {
  return svgElement('path', { class: className, d: `M14 1l6 6l-6 6l-6 -6Z${inside}` })
}

export function archiveTables(listing: ToldListing, now: number): HTMLElement[] {
  const { backups, windows, gaps, damaged } = listing
  const made = [
    table(
      'Base backups',
      ['Name', 'Finished', 'Age', 'Size', 'Stored', 'Timeline', 'Usable', 'Permanent', 'Label'],
      backups.map((one) => [
        one.name,
        timeCell(one.finishTime),
        one.finishTime === null ? '–' : agoText(Date.parse(one.finishTime), now),
        bytesText(one.bytes),
        bytesText(one.storedBytes),
        String(one.stopTimeline),
        one.usable ? 'yes' : `no: ${one.standing}`,
        one.permanent ? 'yes' : 'no',
        one.label ?? '–',
      ]),
    ),
    table(
      'Recovery windows',
      ['Timeline', 'From', 'Last commit', 'WAL up to', 'Backups'],
      windows.map((one) => [
        String(one.timeline),
        timeCell(one.from.time),
        one.lastCommit === null ? 'none' : timeCell(one.lastCommit),
        `${one.coveredUntil}${one.beforeGap ? ', then a gap' : ''}`,
        String(one.backups.length),
      ]),
    ),
  ]
  if (gaps.length > 0) {
    const rows = gaps.map(({ timeline, from, to }) => [String(timeline), from, to ?? 'not known'])
    made.push(table('WAL that is missing', ['Timeline', 'From', 'To'], rows))
  }
  if (damaged.length > 0) {
    const rows = damaged.map(({ name, message }) => [name, message])
    made.push(table('Base backups that cannot be read', ['Name', 'Why'], rows))
  }
  return made
}

function timeCell(text: string | null): string {
  return text === null ? '–' : minuteText(Date.parse(text))
}
