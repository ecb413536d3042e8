/** The outlines of a series, as SVG writes paths. */
import type { Column } from '../samples.ts'

type Scale = (value: number) => number

/** Where a column holds nothing, the line is broken. */
export function linePath({ last }: Column, x: Scale, y: Scale): string {
  let path = ''
  let isDrawing = false
  for (const [nth, value] of last.entries()) {
    if (value !== null) {
      // One that stands alone is a dot: a line of no length with round ends.
      path += `${isDrawing ? 'L' : 'M'}${point(x(nth), y(value))}${isDrawing ? '' : 'h0'}`
    }
    isDrawing = value !== null
  }
  return path
}

/** Up along the greatest and back along the least, run by run. */
export function bandPath({ min, max }: Column, x: Scale, y: Scale): string {
  let path = ''
  for (let begin = 0; begin < max.length; begin++) {
    if (max[begin] === null) continue
    let end = begin
    while (end + 1 < max.length && max[end + 1] !== null) end++
    const places = Array.from({ length: end - begin + 1 }, (_, nth) => begin + nth)
    const upper = places.map((nth) => point(x(nth), y(max[nth] ?? 0)))
    const lower = places.toReversed().map((nth) => point(x(nth), y(min[nth] ?? 0)))
    path += `M${[...upper, ...lower].join('L')}Z`
    begin = end
  }
  return path
}

function point(x: number, y: number): string {
  return `${x.toFixed(1)} ${y.toFixed(1)}`
}
