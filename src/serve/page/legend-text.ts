/**
 * What the legend of a chart says of a series. The columns of a chart hold the worst of their time, so the latest value
 * is the status's: the same that the answers above tell.
 */
import type { Column, SeriesName } from '../samples.ts'
import type { Status } from '../status.ts'

/** Of each series: from where the latest value comes, and what it is. */
const latest: Readonly<Record<SeriesName, readonly [of: string, value: (status: Status) => number | null]>> = {
  loss: ['latest', ({ lossSeconds }) => lossSeconds],
  receive: ['latest', ({ lag }) => lag.receive.seconds],
  sync: ['latest', ({ lag }) => lag.sync.seconds],
  ship: ['latest', ({ lag }) => lag.ship.seconds],
  received: ['over the last minute', ({ rate }) => rate.receivedBytesPerSecond],
  shipped: ['over the last minute', ({ rate }) => rate.shippedBytesPerSecond],
}

/** `latest 0.8 s, at most 12 s`. */
export function legendText(
  name: SeriesName,
  { max }: Column,
  status: Status | null,
  valueText: (value: number) => string,
): string {
  const [of, value] = latest[name]
  const now = status === null ? null : value(status)
  const known = max.flatMap((one) => (one === null ? [] : [one]))
  const most = known.length === 0 ? null : Math.max(...known, now ?? 0)
  const parts = [
    now === null ? '' : `${of} ${valueText(now)}`,
    most === null ? '' : `at most ${valueText(most)}`,
  ].filter((part) => part !== '')
  return parts.length === 0 ? 'not known' : parts.join(', ')
}
