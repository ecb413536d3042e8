/** The catalogue's metrics, and those of the process, in prom-client. The only file that knows prom-client. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import {
  type CounterName,
  catalogue,
  type GaugeName,
  type HistogramName,
  type Labels,
  type Metrics,
} from './catalogue.ts'

/** prom-client's own gauges whose names are those of counters. The same numbers, by type, are told without `_total`. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** Each look wakes the process up: at prom-client's 10 ms that was more than all else that it does for an idle server. */
const eventLoopLookMs = 100

export class MetricsRegistry implements Metrics {
  readonly #registry = new Registry()
  readonly #gauges = new Map<string, Gauge>()
  readonly #counters = new Map<string, Counter>()
  readonly #histograms = new Map<string, Histogram>()
  readonly #refresh: (metrics: Metrics) => void | Promise<void>

  /** @param refresh sets the gauges that are only worth computing when somebody looks. */
  constructor(refresh: (metrics: Metrics) => void | Promise<void>) {
    this.#refresh = refresh
    const registers = [this.#registry]
    for (const [name, entry] of Object.entries(catalogue)) {
      const labelNames = 'labels' in entry ? [...entry.labels] : []
      const common = { name, help: entry.help, labelNames, registers }
      if (entry.type === 'gauge') this.#gauges.set(name, new Gauge(common))
      else if (entry.type === 'counter') this.#counters.set(name, new Counter(common))
      else this.#histograms.set(name, new Histogram({ ...common, buckets: [...entry.buckets] }))
    }
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: eventLoopLookMs })
    for (const name of misnamed) this.#registry.removeSingleMetric(name)
  }

  set(name: GaugeName, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  clear(name: GaugeName): void {
    const gauge = this.#gauges.get(name)
    gauge?.reset()
    // A reset brings one without labels to 0.
    if (gauge !== undefined && !this.#isLabelled(name)) gauge.remove()
  }

  // Without labels nothing is looked up: that would cost each commit that waits for us a few microseconds.

  add(name: CounterName, value: number, labels?: Labels): void {
    if (labels === undefined) this.#counters.get(name)?.inc(value)
    else this.#counters.get(name)?.inc(labels, value)
  }

  observe(name: HistogramName, value: number, labels?: Labels): void {
    if (labels === undefined) this.#histograms.get(name)?.observe(value)
    else this.#histograms.get(name)?.observe(labels, value)
  }

  #isLabelled(name: GaugeName): boolean {
    return 'labels' in catalogue[name]
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Prometheus' text format. */
  async text(): Promise<string> {
    await this.#refresh(this)
    return await this.#registry.metrics()
  }
}
