/** Whether it is getting worse, from the samples of the last minutes. */
import type { Column } from '../samples.ts'

export type Trend =
  | { readonly way: 'unknown' }
  | {
      readonly way: 'growing' | 'steady' | 'shrinking'
      /** Loss in seconds: then, and now. */
      readonly from: number
      readonly to: number
      /** How long ago `from` was. */
      readonly overMs: number
    }

const spanMs = 300_000
const leastSpanMs = 60_000
const partMs = 60_000
const leastChangeSeconds = 5 // what a busy minute does by itself
const leastChangeShare = 0.25

/**
 * Compares the last minute with the first of the last five: the middle one of the samples each, so that one spike is no
 * trend.
 */
export function trendOf(loss: Column, stepMs: number): Trend {
  const known = loss.last.slice(-Math.ceil(spanMs / stepMs)).flatMap((value) => (value === null ? [] : [value]))
  const overMs = (known.length - 1) * stepMs
  if (overMs < leastSpanMs) return { way: 'unknown' }
  const part = Math.max(1, Math.min(Math.ceil(partMs / stepMs), Math.floor(known.length / 2)))
  const from = middle(known.slice(0, part))
  const to = middle(known.slice(-part))
  const change = Math.max(leastChangeSeconds, leastChangeShare * Math.max(from, to))
  const way = to - from >= change ? 'growing' : from - to >= change ? 'shrinking' : 'steady'
  return { way, from, to, overMs }
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
