/** What is wrong with an expression, held against what a receiver really exports. */
import { reasonsAgainst } from '../../src/daemon/readiness.ts'
import { errorCodes } from '../../src/kit/errors.ts'
import { catalogue } from '../../src/metrics/catalogue.ts'
import { lsnZero } from '../../src/wal/lsn.ts'
import { type Matcher, readExpression, type Selector } from './promql.ts'

/** Those that a scrape gives; `cluster` comes from its configuration. */
const targetLabels = ['job', 'instance', 'cluster']
/** What keeps a receiver from being ready without being an error. */
const reasons = (['lost', 'unreserved'] as const).flatMap((walStatus) => {
  const slot = { walStatus, safeBytes: 0, retainedBytes: 0, askedAt: new Date() }
  const gaps = [{ timeline: 1, from: lsnZero, to: lsnZero }]
  return reasonsAgainst({ state: 'connecting', problems: [], slotName: 'walferry', slot, gaps }).map(({ code }) => code)
})
/** Of labels with a known set of values: a matcher has to match one of them. */
const values: Readonly<Record<string, readonly string[]>> = {
  code: [...Object.keys(errorCodes), ...reasons],
  reason: [...Object.keys(errorCodes), 'OTHER'],
  stage: ['receive', 'sync', 'ship'],
  position: ['server', 'received', 'written', 'synced', 'shipped'],
  status: ['reserved', 'extended', 'unreserved', 'lost', 'missing'],
  place: ['spool', 'archive'],
  kind: ['segment', 'tail', 'merged', 'history', 'backup', 'plain', 'stored'],
  result: ['success', 'failure'],
}

/**
 * One line for each metric or label that does not exist.
 *
 * @param ofProcess the metrics of the process itself, such as `process_start_time_seconds`
 * @param shown labels that a legend or an annotation shows
 */
export function faults(expression: string, ofProcess: readonly string[], shown: readonly string[] = []): string[] {
  const { selectors, labels } = readExpression(expression)
  const known = new Set([...targetLabels, ...selectors.flatMap((one) => labelsOf(one.metric, ofProcess) ?? [])])
  return [
    ...selectors.flatMap((one) => selectorFaults(one, ofProcess)),
    ...[...labels, ...shown].filter((label) => !known.has(label)).map((label) => `no metric here has a label ${label}`),
  ]
}

function selectorFaults({ metric, matchers }: Selector, ofProcess: readonly string[]): string[] {
  const own = labelsOf(metric, ofProcess)
  if (own === null) return [`there is no metric ${metric}`]
  return matchers.flatMap((matcher) => {
    if (targetLabels.includes(matcher.label)) return []
    if (!own.includes(matcher.label)) return [`${metric} has no label ${matcher.label}`]
    return matcherFaults(matcher)
  })
}

function matcherFaults({ label, operator, value }: Matcher): string[] {
  const possible = values[label]
  if (possible === undefined) return [`nothing is known of the values of ${label}`]
  const wanted = operator.endsWith('~') ? value.split('|') : [value]
  const idle = wanted.filter((one) => !possible.some((is) => new RegExp(`^(?:${one})$`).test(is)))
  return idle.map((one) => `${label} is never ${one}`)
}

/** The labels of a series of that name, without the target's; null where there is no such series. */
function labelsOf(metric: string, ofProcess: readonly string[]): readonly string[] | null {
  // Prometheus makes `up`, one for each target, and ALERTS.
  if (metric === 'up' || ofProcess.includes(metric)) return []
  const base = metric.replace(/_(?:bucket|sum|count)$/, '')
  for (const [name, entry] of Object.entries(catalogue)) {
    const own: readonly string[] = 'labels' in entry ? entry.labels : []
    if (entry.type !== 'histogram' && name === metric) return own
    if (entry.type === 'histogram' && name === base && base !== metric) {
      return metric.endsWith('_bucket') ? [...own, 'le'] : own
    }
  }
  return null
}
