/** Each alert of grafana/alerts.yml fires when it should, says what it should, and is quiet otherwise. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { runProgram } from '../support/walferry.ts'
import { alertCases } from './alert-cases.ts'
import { alertsFile, readAlerts } from './alerts-file.ts'
import { badDays } from './bad-days.ts'
import { without } from './prometheus-tools.ts'
import { always, here, partner, receiver, sampleSeconds, type Series } from './receiver-series.ts'

const alerts = readAlerts()
const interval = `${sampleSeconds}s`
const severities = new Map(alerts.map((one) => [one.alert, one.labels.severity]))

interface Case {
  readonly name: string
  readonly series: Series
  readonly after: number
  /** The names of all alerts that fire, where the case is one of several side by side. */
  readonly firing: readonly string[]
}

/** `folder` is for what it leaves behind. */
async function promtool(folder: string, ...args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await runProgram('promtool', args, { env: { TMPDIR: folder }, signal: deadline() })
  assert.equal(code, 0, stdout + stderr)
}

async function holdTests(t: TestContext, tests: readonly object[]): Promise<void> {
  const folder = await tempFolder(t)
  const file = join(folder, 'alerts.test.json') // every JSON is YAML
  await writeFile(file, JSON.stringify({ rule_files: [alertsFile], evaluation_interval: interval, tests }))
  await promtool(folder, 'test', 'rules', file)
}

function inputOf(series: Series): object[] {
  const known = Object.entries(series).filter(([, values]) => values !== null)
  return known.map(([one, values]) => ({ series: one, values }))
}

/** Side by side in one Prometheus, as jobs of their own: no alert looks beyond its job. */
async function holdCases(t: TestContext, cases: readonly Case[]): Promise<void> {
  const series: Record<string, string | null> = {}
  const questions = cases.map(({ name, series: own, after, firing }, at) => {
    const job = `walferry-${at}`
    for (const [one, values] of Object.entries(own)) series[one.replace('job="walferry"', `job="${job}"`)] = values
    // The label is for the reader of a failure.
    const label = name.replaceAll('"', "'")
    const alerting = `group by (alertname) (ALERTS{alertstate="firing", job="${job}"})`
    const expr = `label_replace(${alerting}, "case", "${label}", "", "")`
    const exp_samples = firing.map((alertname) => ({
      labels: `{alertname="${alertname}", case="${label}"}`,
      value: 1,
    }))
    return { expr, eval_time: `${after}m`, exp_samples }
  })
  await holdTests(t, [{ interval, input_series: inputOf(series), promql_expr_test: questions }])
}

describe('alerts', () => {
  test('every alert has a case in which it fires and one in which it does not', () => {
    assert.deepEqual(Object.keys(alertCases), [...severities.keys()])
  })

  const skip = without('promtool')

  test('promtool finds nothing wrong with the rules', { skip }, async (t) => {
    await promtool(await tempFolder(t), 'check', 'rules', '--lint=all', '--lint-fatal', alertsFile)
  })

  test('every alert fires, and says what it should', { skip }, async (t) => {
    const tests = Object.entries(alertCases).map(([alertname, { fires }]) => {
      const { labels = here, summary, description } = fires
      const exp_annotations = { summary, description, runbook: `grafana/README.md#${alertname.toLowerCase()}` }
      const exp_alerts = [{ exp_labels: { ...labels, severity: severities.get(alertname) }, exp_annotations }]
      const { when, series, after } = fires
      const alert_rule_test = [{ eval_time: `${after}m`, alertname, exp_alerts }]
      return { name: `${alertname}: ${when}`, interval, input_series: inputOf(series), alert_rule_test }
    })
    await holdTests(t, tests)
  })

  test('every alert is quiet where little is missing', { skip }, async (t) => {
    const cases = Object.entries(alertCases).map(([alertname, { doesNot }]) => {
      const { when, series, after, others = [] } = doesNot
      return { name: `${alertname}: ${when}`, series, after, firing: others }
    })
    await holdCases(t, cases)
  })

  test('what goes wrong on a bad day fires the alerts that say so, and no others', { skip }, async (t) => {
    const cases = badDays.flatMap(({ failure, series, after = 10, alerts: firing }) => {
      return series === null ? [] : [{ name: failure, series, after, firing }]
    })
    await holdCases(t, cases)
  })

  test('no alert fires for an hour and a half of an idle receiver, nor where no label tells the cluster', {
    skip,
  }, async (t) => {
    const waiting = {
      walferry_connected: always(0),
      walferry_ready: always(0),
      'walferry_problem{code="SLOT_IN_USE"}': always(1),
    }
    const unlabelled = receiver({}, { job: 'walferry', instance: 'a:9868' })
    await holdCases(t, [
      { name: 'one receiver', series: receiver(), after: 95, firing: [] },
      { name: 'one without the label cluster', series: unlabelled, after: 95, firing: [] },
      { name: 'a pair', series: { ...receiver(), ...receiver(waiting, partner) }, after: 95, firing: [] },
    ])
  })

  test('a Prometheus that scrapes no receiver at all says so', { skip }, async (t) => {
    const expr = 'group by (alertname) (ALERTS{alertstate="firing"})'
    const exp_samples = [{ labels: '{alertname="WalferryReceiverAbsent"}', value: 1 }]
    const input_series = inputOf({ 'up{job="node",instance="a:9100"}': always(1) })
    await holdTests(t, [{ interval, input_series, promql_expr_test: [{ expr, eval_time: '5m', exp_samples }] }])
  })
})
