/**
 * A small chart of a few series over time: for each the last value of a column as a line, and from its least to its
 * greatest as a band, so that a spike that fell between is seen. Series differ by dashes as well as by colour.
 */
import type { SeriesName, Thinned } from '../samples.ts'
import { svgElement } from './dom.ts'
import { bandPath, linePath } from './paths.ts'
import { type TimeTick, timeTicks, type Unit, valueTicks } from './ticks.ts'

export interface SeriesLook {
  readonly name: SeriesName
  readonly label: string
  readonly className: 'one' | 'two' | 'three' | 'four'
}

export interface ChartLook {
  readonly title: string
  readonly series: readonly SeriesLook[]
  readonly valueText: (value: number) => string
  readonly unit: Unit
  /** What the axis shows at least: noise is not blown up. */
  readonly leastTop: number
}

interface Frame {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

const height = 200
const valueSteps = 4
const tickWidth = 60

/** @param width in pixels, so that text keeps its size on a phone. */
export function lineChart(look: ChartLook, data: Thinned, width: number, summary: string): SVGSVGElement {
  const endMs = data.startMs + data.stepMs * data.columns
  const greatest = Math.max(
    look.leastTop,
    ...look.series.flatMap(({ name }) => data.series[name].max.map((one) => one ?? 0)),
  )
  const ticks = valueTicks(greatest, valueSteps, look.unit)
  const top = ticks.at(-1) ?? 1
  const labels = ticks.map(look.valueText)
  const frame: Frame = {
    left: 12 + 7 * Math.max(...labels.map(({ length }) => length)),
    right: width - 18,
    top: 10,
    bottom: height - 24,
  }
  const x = (atMs: number): number =>
    frame.left + ((frame.right - frame.left) * (atMs - data.startMs)) / (endMs - data.startMs)
  const y = (value: number): number => frame.bottom - ((frame.bottom - frame.top) * value) / top
  const times = timeTicks(data.startMs, endMs, Math.floor((frame.right - frame.left) / tickWidth))
  return svgElement(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${look.title}. ${summary}` },
    svgElement('title', {}, look.title),
    svgElement('desc', {}, summary),
    ...ticks.flatMap((value, nth) => valueMark(frame, y(value), labels[nth] ?? '')),
    ...times.flatMap((tick) => timeMark(frame, x(tick.atMs), tick)),
    ...look.series.flatMap(({ name, className }) => {
      const column = data.series[name]
      const at = (nth: number): number => x(data.startMs + data.stepMs * (nth + 0.5))
      return [
        svgElement('path', { class: `band ${className}`, d: bandPath(column, at, y) }),
        svgElement('path', { class: `curve ${className}`, d: linePath(column, at, y) }),
      ]
    }),
  )
}

function valueMark(frame: Frame, y: number, text: string): SVGElement[] {
  return [
    svgElement('line', { class: 'grid', x1: frame.left, x2: frame.right, y1: y, y2: y }),
    svgElement('text', { x: frame.left - 6, y: y + 4, 'text-anchor': 'end' }, text),
  ]
}

function timeMark(frame: Frame, x: number, { text }: TimeTick): SVGElement[] {
  return [
    svgElement('line', { class: 'axis', x1: x, x2: x, y1: frame.bottom, y2: frame.bottom + 4 }),
    svgElement('text', { x, y: frame.bottom + 17, 'text-anchor': 'middle' }, text),
  ]
}
