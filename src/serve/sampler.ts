/**
 * Looks at the receiver's status every second, and keeps what it saw as samples of ten seconds: of lag the worst, of
 * throughput the mean. `/history.json` is what comes of it.
 */
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import { bytesBetween, type Lsn, parseLsn } from '../wal/lsn.ts'
import { type History, type Sample, SampleRing } from './samples.ts'
import type { Status } from './status.ts'

/** What a sample needs to know. */
export type Looked = Pick<Status, 'lossSeconds' | 'lag' | 'positions'>

const lookEveryMs = 1000
const looksOfSample = 10
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const columns = 361 // an hour has 360 samples, and the first column may be begun in its midst

interface Ends {
  readonly atMs: number
  readonly received: Lsn
  readonly shipped: Lsn
}

export class Sampler {
  readonly #clock: Clock
  readonly #ring: SampleRing
  readonly #look: () => Promise<Looked>
  #looks: Looked[] = []
  #before: Ends | null = null

  constructor(look: () => Promise<Looked>, clock: Clock) {
    this.#look = look
    this.#clock = clock
    const sampleMs = lookEveryMs * looksOfSample
    this.#ring = new SampleRing(sampleMs, dayMs / sampleMs)
  }

  /** Until `signal` aborts; then it resolves. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look()
      await sleep(lookEveryMs, signal).catch(() => undefined)
    }
  }

  /** One look; the tenth of them makes a sample. */
  async look(): Promise<void> {
    const looked = await this.#look()
    const atMs = this.#clock.monotonicMs()
    const ends = endsOf(looked, atMs)
    this.#before ??= ends
    this.#looks.push(looked)
    if (this.#looks.length < looksOfSample) return
    this.#ring.add(atMs, sampleOf(this.#looks, this.#before, ends))
    this.#looks = []
    this.#before = ends
  }

  history(): History {
    const now = { atMs: this.#clock.monotonicMs(), wallMs: this.#clock.nowMs() }
    return { recent: this.#ring.thin(hourMs, columns, now), all: this.#ring.thin(dayMs, columns, now) }
  }
}

/** What the looks of ten seconds were like, between two ends. */
export function sampleOf(looks: readonly Looked[], before: Ends | null, after: Ends | null): Sample {
  const losses = looks.flatMap(({ lossSeconds }) => (lossSeconds === null ? [] : [lossSeconds]))
  const worst = (stage: 'receive' | 'sync' | 'ship'): number => Math.max(...looks.map(({ lag }) => lag[stage].seconds))
  const rate = (position: 'received' | 'shipped'): number | null => {
    if (before === null || after === null || after.atMs <= before.atMs) return null
    // A server whose line has left ours moves them back: what was received since is not known then.
    const bytes = after[position] < before[position] ? 0 : bytesBetween(before[position], after[position])
    return (bytes * 1000) / (after.atMs - before.atMs)
  }
  return {
    loss: losses.length === 0 ? null : Math.max(...losses),
    receive: worst('receive'),
    sync: worst('sync'),
    ship: worst('ship'),
    received: rate('received'),
    shipped: rate('shipped'),
  }
}

function endsOf({ positions }: Looked, atMs: number): Ends | null {
  return positions === null
    ? null
    : { atMs, received: parseLsn(positions.received), shipped: parseLsn(positions.shipped) }
}
