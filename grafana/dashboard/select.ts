/** How every query of the dashboard selects: by its variables, and none of a receiver that only waits for its turn. */
import type { MetricName } from '../../src/metrics/catalogue.ts'

/**
 * All of a variable is `.*`, which also matches where a label is missing: the label `cluster` is the scrape
 * configuration's to give, and may be left out.
 */
const chosen = 'cluster=~"$cluster", instance=~"$instance"'

/** Not as strict as a name of the catalogue: the series of a histogram have its name and a suffix. */
type SeriesName = MetricName | `${MetricName}_bucket` | `${MetricName}_sum` | `${MetricName}_count`

/** `walferry_lag_seconds{cluster=~"$cluster", instance=~"$instance", stage="ship"}` */
export function select(name: SeriesName, matchers = ''): string {
  return `${name}{${chosen}${matchers === '' ? '' : `, ${matchers}`}}`
}

/** Per second, over as long as the resolution of the picture asks for. */
export function rate(name: SeriesName, matchers = ''): string {
  return `rate(${select(name, matchers)}[$__rate_interval])`
}

/**
 * Of a pair for high availability one receiver waits for the slot, and says nothing of how much would be lost: the
 * other one does.
 */
export function unlessWaiting(expression: string): string {
  return `${expression} unless on (job, instance) (walferry_problem{code="SLOT_IN_USE"} == 1)`
}

/** A metric of the process, of the receivers alone. `name` is what every program calls it. */
export function ofReceivers(name: string): string {
  return `${name}{${chosen}} and on (job, instance) ${select('walferry_build_info')}`
}
