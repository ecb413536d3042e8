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
const severities = new Map(alerts.map((one) => [one.alert, one.labels.severity]))

interface UnitTest {
  readonly name: string
  readonly series: Series
  readonly after: number
  /** The names of all alerts that fire, or how one fires. */
  readonly expect: readonly string[] | Expected
}

interface Expected {
  readonly alertname: string
  readonly exp_alerts: readonly { readonly exp_labels: object; readonly exp_annotations: object }[]
}

/** `folder` is for what it leaves behind. */
async function promtool(folder: string, ...args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await runProgram('promtool', args, { env: { TMPDIR: folder }, signal: deadline() })
  assert.equal(code, 0, stdout + stderr)
}

/** All in one run of promtool. */
async function holdAll(t: TestContext, tests: readonly UnitTest[]): Promise<void> {
  const folder = await tempFolder(t)
  const file = join(folder, 'alerts.test.json') // every JSON is YAML
  const document = {
    rule_files: [alertsFile],
    evaluation_interval: `${sampleSeconds}s`,
    tests: tests.map(unitTest),
  }
  await writeFile(file, JSON.stringify(document))
  await promtool(folder, 'test', 'rules', file)
}

function unitTest({ name, series, after, expect }: UnitTest): object {
  const given = Object.entries(series).filter(([, values]) => values !== null)
  const common = {
    name,
    interval: `${sampleSeconds}s`,
    input_series: given.map(([one, values]) => ({ series: one, values })),
  }
  const eval_time = `${after}m`
  if ('alertname' in expect) return { ...common, alert_rule_test: [{ eval_time, ...expect }] }
  const firing = { expr: 'group by (alertname) (ALERTS{alertstate="firing"})', eval_time }
  const exp_samples = expect.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 }))
  return { ...common, promql_expr_test: [{ ...firing, exp_samples }] }
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
      return { name: `${alertname}: ${fires.when}`, ...fires, expect: { alertname, exp_alerts } }
    })
    await holdAll(t, tests)
  })

  test('every alert is quiet where little is missing', { skip }, async (t) => {
    const tests = Object.entries(alertCases).map(([alertname, { doesNot }]) => {
      return { name: `${alertname}: ${doesNot.when}`, ...doesNot, expect: { alertname, exp_alerts: [] } }
    })
    await holdAll(t, tests)
  })

  test('what goes wrong on a bad day fires the alerts that say so, and no others', { skip }, async (t) => {
    const tests = badDays.flatMap(({ failure, series, after = 10, alerts: expect }) => {
      return series === null ? [] : [{ name: failure, series, after, expect }]
    })
    await holdAll(t, tests)
  })

  test('no alert fires for a long hour of an idle receiver, nor where no label tells the cluster', {
    skip,
  }, async (t) => {
    const waiting = {
      walferry_connected: always(0),
      walferry_ready: always(0),
      'walferry_problem{code="SLOT_IN_USE"}': always(1),
    }
    const tests: UnitTest[] = [
      { name: 'one receiver', series: receiver(), after: 65, expect: [] },
      {
        name: 'one receiver without the label cluster',
        series: receiver({}, { job: 'walferry', instance: 'a:9868' }),
        after: 15,
        expect: [],
      },
      { name: 'a pair', series: { ...receiver(), ...receiver(waiting, partner) }, after: 15, expect: [] },
      {
        name: 'nothing is scraped at all',
        series: { 'up{job="node",instance="a:9100"}': always(1) },
        after: 5,
        expect: ['WalferryReceiverAbsent'],
      },
    ]
    await holdAll(t, tests)
  })
})
