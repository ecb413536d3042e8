/** Is it getting worse? By what was seen before, and with one look alone by the rates. */
import { humanBytes } from '../audit/tell-listing.ts'
import type { Status } from '../serve/status.ts'
import type { Said } from './paint.ts'
import { durationText } from './time-words.ts'

/** What is remembered of a look. */
export interface Look {
  readonly atMs: number
  readonly startedAt: string
  readonly lossSeconds: number | null
}

/** Less than this is what a ship interval and a slow upload make, and says nothing. */
export const calmSeconds = 5
const rememberedMs = 30_000
const leastSpanMs = 3000
/** By chance there is as much between two looks, and between two rates. */
const sameSeconds = 1
const sameShare = 0.05

/** The looks of the last 30 s with one more; those at a receiver before its restart say nothing of this one. */
export function remember(looks: readonly Look[], { at, startedAt, lossSeconds }: Status): Look[] {
  const atMs = Date.parse(at)
  const kept = looks.filter((one) => one.startedAt === startedAt && one.atMs < atMs && one.atMs >= atMs - rememberedMs)
  return [...kept, { atMs, startedAt, lossSeconds }]
}

/** `looks` are those remembered, the status' own last. */
export function trendOf(status: Status, looks: readonly Look[]): Said {
  const { receivedBytesPerSecond: rateIn, shippedBytesPerSecond: rateOut } = status.rate
  const flow = `${rateText(rateIn)} come in, ${rateText(rateOut)} are shipped`
  const waiting = status.lag.sync.bytes + status.lag.ship.bytes
  if (status.state !== 'streaming') {
    const shipping = waiting > 0 && rateOut > 0 ? `; what is here is shipped at ${rateText(rateOut)}` : ''
    return { text: `yes: nothing comes in from the server${shipping}`, tone: 'bad' }
  }
  const loss = status.lossSeconds ?? 0
  if (loss < calmSeconds) return { text: `no: ${flow}`, tone: 'good' }
  const first = looks.find((one) => one.lossSeconds !== null)
  const spanMs = Date.parse(status.at) - (first?.atMs ?? Infinity)
  if (spanMs >= leastSpanMs) {
    const more = loss - (first?.lossSeconds ?? 0)
    const ago = `${durationText(spanMs / 1000)} ago`
    if (more >= sameSeconds) return { text: `yes: ${durationText(more)} more than ${ago}; ${flow}`, tone: 'bad' }
    if (more <= -sameSeconds) return { text: `no: ${durationText(-more)} less than ${ago}; ${flow}`, tone: 'good' }
    return { text: `no: the same as ${ago}; ${flow}`, tone: 'warning' }
  }
  // How fast the server writes is not told, only how fast it sends.
  if (status.lag.receive.bytes > waiting) {
    return { text: `one look does not tell, --watch does: ${flow}`, tone: 'warning' }
  }
  if (waiting > 0 && rateOut === 0) return { text: `yes: ${flow}`, tone: 'bad' }
  if (rateIn > rateOut * (1 + sameShare)) return { text: `yes: ${flow}`, tone: 'bad' }
  if (rateOut > rateIn * (1 + sameShare)) {
    const left = durationText(waiting / (rateOut - rateIn))
    return { text: `no: ${flow}; caught up in ${left}`, tone: 'good' }
  }
  return { text: `no: ${flow}`, tone: 'warning' }
}

function rateText(bytesPerSecond: number): string {
  return `${humanBytes(Math.round(bytesPerSecond))}/s`
}
