/** The two charts of what flows: what is looked at in them, their legends, and their tables. */
import type { Column, Thinned } from '../samples.ts'
import type { Status } from '../status.ts'
import { element, svgElement, table } from './dom.ts'
import { durationText, minuteText, rateText } from './format.ts'
import { legendText } from './legend-text.ts'
import { type ChartLook, lineChart, type SeriesLook } from './line-chart.ts'

export const lagLook: ChartLook = {
  title: 'Lag: how long WAL has waited',
  series: [
    { name: 'loss', label: 'would be lost', className: 'four' },
    { name: 'receive', label: 'receiving', className: 'one' },
    { name: 'sync', label: 'syncing', className: 'three' },
    { name: 'ship', label: 'shipping', className: 'two' },
  ],
  valueText: durationText,
  unit: 'seconds',
  leastTop: 2,
}

export const rateLook: ChartLook = {
  title: 'Throughput: WAL per second',
  series: [
    { name: 'received', label: 'received', className: 'one' },
    { name: 'shipped', label: 'shipped', className: 'two' },
  ],
  valueText: rateText,
  unit: 'bytes',
  leastTop: 64 * 1024,
}

/** @param status the latest. */
export function flowPicture(look: ChartLook, data: Thinned | null, status: Status | null, width: number): Element[] {
  if (data === null || data.columns === 0) {
    return [element('p', {}, 'No samples yet: the first one comes ten seconds after the start.')]
  }
  const said = ({ name, label }: SeriesLook): string =>
    `${label}: ${legendText(name, data.series[name], status, look.valueText)}`
  return [lineChart(look, data, width, `${look.series.map(said).join('; ')}.`), legend(look, said)]
}

function legend(look: ChartLook, said: (series: SeriesLook) => string): HTMLElement {
  const item = (series: SeriesLook): HTMLElement => {
    const { className } = series
    const stroke = svgElement('path', { class: `curve ${className}`, d: 'M1 7H27' })
    const mark = svgElement('svg', { viewBox: '0 0 28 14', 'aria-hidden': 'true' }, stroke)
    return element('li', {}, mark, said(series))
  }
  return element('ul', { class: 'legend' }, ...look.series.map(item))
}

/** The newest first. */
export function flowTables(look: ChartLook, data: Thinned | null): HTMLElement[] {
  if (data === null) return []
  const rows: string[][] = []
  for (let nth = data.columns - 1; nth >= 0; nth--) {
    if (look.series.every(({ name }) => data.series[name].last[nth] === null)) continue
    rows.push([timeOf(data, nth), ...look.series.map(({ name }) => cellText(data.series[name], nth, look))])
  }
  const caption = `${look.title}, every ${durationText(data.stepMs / 1000)}`
  return [table(caption, ['Time', ...look.series.map(({ label }) => label)], rows)]
}

function cellText({ last, max }: Column, nth: number, { valueText }: ChartLook): string {
  const [now, most] = [last[nth] ?? null, max[nth] ?? null]
  if (now === null || most === null) return '–'
  const [nowText, mostText] = [valueText(now), valueText(most)]
  return nowText === mostText ? nowText : `${nowText} (at most ${mostText})`
}

function timeOf({ startMs, stepMs }: Thinned, nth: number): string {
  const atMs = startMs + nth * stepMs
  return stepMs < 60_000 ? new Date(atMs).toISOString().slice(11, 19) : minuteText(atMs)
}
