/** The dashboard is what its program makes, complete, and asks for nothing that a receiver does not have. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, test } from 'node:test'
import { dashboardText } from '../../grafana/dashboard/dashboard.ts'
import { catalogue } from '../../src/metrics/catalogue.ts'
import { MetricsRegistry } from '../../src/metrics/registry.ts'
import { grafanaFolder, readAlerts } from './alerts-file.ts'
import { queriesOf, readDashboard } from './dashboard-file.ts'
import { faults } from './expressions.ts'
import { readExpression } from './promql.ts'

const file = readDashboard()
const queries = queriesOf(file)

/** The names that prom-client gives to what it tells of the process. */
async function processMetrics(): Promise<string[]> {
  const text = await new MetricsRegistry(() => undefined).text()
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1] ?? '')
  return names.filter((name) => !(name in catalogue))
}

/** `{{code}}` of a legend, `$labels.code` and `.Labels.code` of an alert. */
function labelsShown(text: string): string[] {
  return [...text.matchAll(/\{\{(\w+)\}\}|[$.][lL]abels\.(\w+)/g)].map((match) => match[1] ?? match[2] ?? '')
}

/** The queries that an annotation of an alert makes: `printf "walferry_lag_seconds{job=%q}" ...`. */
function queriesWithin(annotation: string): string[] {
  return [...annotation.matchAll(/printf "([^"]*)"/g)].map((match) => (match[1] ?? '').replaceAll('%q', '".*"'))
}

describe('the dashboard', () => {
  test('is what its program makes of it (npm run dashboard)', () => {
    assert.equal(readFileSync(resolve(grafanaFolder, 'dashboard.json'), 'utf8'), dashboardText())
  })

  test('answers the four questions first', () => {
    assert.deepEqual(
      file.panels.slice(0, 4).map(({ title, type, gridPos: { y } }) => [title, type, y]),
      [
        ['How much would we lose now?', 'stat', 0],
        ['Is it getting worse?', 'stat', 0],
        ['Where does it hang?', 'stat', 0],
        ['To which moment can I restore?', 'stat', 0],
      ],
    )
  })

  test('has a description, a unit and a query for every panel, and no title or id twice', () => {
    const panels = file.panels.filter(({ type }) => type !== 'row')
    for (const { title, description, fieldConfig, targets, datasource } of panels) {
      assert.ok((description ?? '').length > 20, `${title} has no description`)
      assert.ok(fieldConfig?.defaults.unit !== undefined, `${title} has no unit`)
      assert.ok(targets !== undefined && targets.length > 0, `${title} asks for nothing`)
      assert.ok(datasource !== undefined, `${title} has no data source`)
    }
    for (const key of ['title', 'id'] as const) {
      assert.equal(new Set(file.panels.map((panel) => panel[key])).size, file.panels.length, key)
    }
  })

  test('covers no panel with another one, and stays within its 24 columns', () => {
    const taken = new Set<string>()
    for (const { title, gridPos } of file.panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(x < 24 && !taken.has(`${x},${y}`), `${title} lies over another panel`)
          taken.add(`${x},${y}`)
        }
      }
    }
  })

  test('selects by its variables in every query', () => {
    for (const { of, expr } of queries) {
      const [first] = readExpression(expr).selectors
      const matchers = first?.matchers.map(({ label, value }) => `${label} ${value}`) ?? []
      assert.ok(matchers.includes('cluster $cluster') && matchers.includes('instance $instance'), `${of}: ${expr}`)
    }
    const names = file.templating.list.map(({ name }) => name)
    assert.deepEqual(names, ['datasource', 'cluster', 'instance'])
  })

  test('shows every metric of the catalogue but those that it says', () => {
    const asked = queries.flatMap(({ expr }) => readExpression(expr).selectors.map(({ metric }) => metric))
    const shown = new Set(asked.map((metric) => metric.replace(/_(?:bucket|sum|count)$/, '')))
    const missing = Object.keys(catalogue).filter((name) => !shown.has(name) && !(name in notShown))
    assert.deepEqual(missing, [])
  })
})

/** What has no picture, and why. */
const notShown: Readonly<Record<string, string>> = {
  walferry_server_info: 'a version is no figure: walferry status has it',
  walferry_position_bytes: 'a position is no figure either: lag and throughput are what counts of it',
  walferry_timeline_switches_total: 'the timeline itself is shown, and marked where it switches',
  walferry_backup_success_time_seconds: 'its age is shown',
  walferry_slot_asked_time_seconds: 'the alerts on the slot tell its age, where it is old',
}

describe('expressions', async () => {
  const ofProcess = await processMetrics()

  test('of the dashboard name only metrics and labels that a receiver has', () => {
    for (const { of, expr, legend } of queries) assert.deepEqual(faults(expr, ofProcess, labelsShown(legend)), [], of)
    for (const { definition } of file.templating.list) {
      const [, series = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(definition ?? '') ?? []
      if (definition !== undefined) assert.deepEqual(faults(series, ofProcess, [label]), [], definition)
    }
  })

  test('of the alerts do, too, and so does what they say', () => {
    for (const { alert, expr, annotations } of readAlerts()) {
      const within = Object.values(annotations).flatMap(queriesWithin)
      const shown = Object.values(annotations).flatMap(labelsShown)
      for (const one of within) assert.deepEqual(faults(one, ofProcess), [], alert)
      assert.deepEqual(faults([expr, ...within].join(' or '), ofProcess, shown), [], alert)
    }
  })

  const wrong: readonly (readonly [expression: string, fault: string])[] = [
    ['walferry_lag_second > 1', 'there is no metric walferry_lag_second'],
    ['rate(walferry_upload_duration_seconds[5m])', 'there is no metric walferry_upload_duration_seconds'],
    ['rate(walferry_gaps_count[5m])', 'there is no metric walferry_gaps_count'],
    ['walferry_lag_seconds{code="ship"}', 'walferry_lag_seconds has no label code'],
    ['walferry_lag_seconds{stage="shipping"}', 'stage is never shipping'],
    ['walferry_problem{code=~"STORE_.+|STORED_.+"} == 1', 'code is never STORED_.+'],
    ['sum by (kinds) (rate(walferry_uploads_total[5m]))', 'no metric here has a label kinds'],
    ['walferry_gaps unless on (host) up', 'no metric here has a label host'],
    ['process_start_time > 0', 'there is no metric process_start_time'],
  ]

  for (const [expression, fault] of wrong) {
    test(`the test sees that in ${expression}`, () => assert.deepEqual(faults(expression, ofProcess), [fault]))
  }

  test('the test finds nothing in expressions that are right', () => {
    const right = [
      'sum by (le) (rate(walferry_upload_duration_seconds_bucket{kind="tail"}[5m])) # {nothing="here"}',
      'max without (stage) (walferry_lag_seconds) > bool 1e3 and on (job, instance) up{job=~".*"} offset 5m',
      'increase(walferry_uploads_total{result!="success", instance=~"$instance"}[$__rate_interval]) == Inf',
    ]
    for (const expression of right) assert.deepEqual(faults(expression, ofProcess), [], expression)
  })
})
