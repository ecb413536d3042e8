/** Draws the time line of the archive. */
import { svgElement } from './dom.ts'
import { countText, minuteText } from './format.ts'
import { timeTicks } from './ticks.ts'
import type { BackupMark, Bar, Row, TimeLine } from './time-line.ts'

const rowHeight = 46
const barHeight = 16
const axisHeight = 26
const left = 40
const tickWidth = 80
const leastBarWidth = 3
const leastSpanMs = 60_000

export function archiveChart(line: TimeLine, width: number): SVGSVGElement {
  const right = width - 14
  const endMs = Math.max(line.nowMs, line.fromMs + leastSpanMs)
  const x = (atMs: number): number => left + 8 + ((right - left - 8) * (atMs - line.fromMs)) / (endMs - line.fromMs)
  const bottom = line.rows.length * rowHeight
  const height = bottom + axisHeight
  const summary = summaryOf(line)
  const ticks = timeTicks(line.fromMs, endMs, Math.floor((right - left) / tickWidth))
  return svgElement(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `What can be restored. ${summary}` },
    svgElement('title', {}, 'What can be restored'),
    svgElement('desc', {}, summary),
    hatch(),
    ...ticks.flatMap(({ atMs, text }) => [
      svgElement('line', { class: 'grid', x1: x(atMs), x2: x(atMs), y1: 0, y2: bottom + 4 }),
      svgElement('text', { x: x(atMs), y: bottom + 18, 'text-anchor': 'middle' }, text),
    ]),
    ...line.rows.flatMap((row, nth) => drawRow(row, nth * rowHeight + 24, x)),
    svgElement('line', { class: 'now', x1: x(line.nowMs), x2: x(line.nowMs), y1: 0, y2: bottom + 4 }),
  )
}

function drawRow(row: Row, y: number, x: (atMs: number) => number): SVGElement[] {
  const bar = (one: Bar, className: string, text: string): SVGElement =>
    svgElement(
      'rect',
      {
        class: className,
        x: x(one.fromMs),
        y: y - barHeight / 2,
        width: Math.max(leastBarWidth, x(one.toMs) - x(one.fromMs)),
        height: barHeight,
      },
      svgElement('title', {}, text),
    )
  return [
    svgElement('text', { class: 'name', x: 0, y: y + 4 }, `TL ${row.timeline}`),
    ...row.gaps.map((one) => bar(one, 'gap', one.text)),
    ...row.windows.map((one) =>
      bar(one, 'window', `Any moment from ${minuteText(one.fromMs)} to ${minuteText(one.toMs)}`),
    ),
    ...row.backups.map((one) => drawBackup(one, x(one.atMs), y)),
  ]
}

/** A diamond; with a rim if it is kept for good, and hollow and crossed if nothing can be restored with it. */
function drawBackup(backup: BackupMark, x: number, y: number): SVGElement {
  const size = 8
  const diamond = `M${x} ${y - size}l${size} ${size}l${-size} ${size}l${-size} ${-size}Z`
  const cross = `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`
  const kind = backup.isUsable ? (backup.isPermanent ? 'backup kept' : 'backup') : 'backup broken'
  const text = `Base backup ${backup.name}, ${minuteText(backup.atMs)}${backup.isUsable ? '' : ', not usable'}${backup.isPermanent ? ', permanent' : ''}`
  return svgElement(
    'path',
    { class: kind, d: backup.isUsable ? diamond : diamond + cross },
    svgElement('title', {}, text),
  )
}

/** Stripes, for what is missing. */
function hatch(): SVGElement {
  const stripes = svgElement('path', { class: 'hatch', d: 'M0 0V8' })
  return svgElement(
    'defs',
    {},
    svgElement(
      'pattern',
      { id: 'hatch', width: 6, height: 8, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
      stripes,
    ),
  )
}

function summaryOf({ rows, fromMs, nowMs }: TimeLine): string {
  const told = rows.map(
    ({ timeline, windows, gaps, backups }) =>
      `timeline ${timeline}: ${countText(backups.length, 'base backup')}, ${countText(windows.length, 'window')}, ${countText(gaps.length, 'gap')}`,
  )
  return `From ${minuteText(fromMs)} to ${minuteText(nowMs)}; ${told.join('; ')}.`
}
