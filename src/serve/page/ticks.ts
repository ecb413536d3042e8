/** Where an axis has its marks: at round numbers. */

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const roundTimes = [
  10_000,
  30_000,
  minute,
  2 * minute,
  5 * minute,
  10 * minute,
  15 * minute,
  30 * minute,
  hour,
  2 * hour,
  3 * hour,
  6 * hour,
  12 * hour,
  day,
  2 * day,
  7 * day,
  14 * day,
  28 * day,
  91 * day,
  182 * day,
]

const roundSeconds = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400]

export type Unit = 'seconds' | 'bytes'

/** From 0 up to a round number that is not below `greatest`, in at most `most` steps. */
export function valueTicks(greatest: number, most: number, unit: Unit): number[] {
  const least = greatest / most
  const step = unit === 'bytes' ? binaryStep(least) : secondsStep(least)
  const count = Math.max(1, Math.ceil(greatest / step - 1e-9))
  return Array.from({ length: count + 1 }, (_, nth) => nth * step)
}

/** 1, 2 or 5 times a power of ten. */
function decimalStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return (least <= power ? 1 : least <= 2 * power ? 2 : least <= 5 * power ? 5 : 10) * power
}

function secondsStep(least: number): number {
  if (least <= 20) return decimalStep(least)
  return roundSeconds.find((one) => one >= least) ?? Math.ceil(least / 86_400) * 86_400
}

/** A power of two: then the marks are round in KiB and MiB. */
function binaryStep(least: number): number {
  return 2 ** Math.ceil(Math.log2(least))
}

export interface TimeTick {
  readonly atMs: number
  /** `11:05`, `11:05:30`, or `Nov 21` where the steps are days. */
  readonly text: string
}

/** Round moments (UTC) between two others, at most `most`. */
export function timeTicks(fromMs: number, toMs: number, most: number): TimeTick[] {
  const least = (toMs - fromMs) / Math.max(1, most)
  const step = roundTimes.find((one) => one >= least) ?? Math.ceil(least / (364 * day)) * 364 * day
  const ticks: TimeTick[] = []
  for (let atMs = Math.ceil(fromMs / step) * step; atMs <= toMs; atMs += step) {
    const text = new Date(atMs).toISOString()
    ticks.push({ atMs, text: step >= day ? dayText(text) : text.slice(11, step < minute ? 19 : 16) })
  }
  return ticks
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

function dayText(iso: string): string {
  return `${months[Number(iso.slice(5, 7)) - 1]} ${Number(iso.slice(8, 10))}`
}
