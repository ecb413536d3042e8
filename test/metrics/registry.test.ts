import assert from 'node:assert/strict'
import { test } from 'node:test'
import { catalogue, type Labels } from '../../src/metrics/catalogue.ts'
import { MetricsRegistry } from '../../src/metrics/registry.ts'

const entries = Object.entries(catalogue)

/** Prometheus: "Metric and label naming". The base units, and what is counted instead of measured. */
const units = /_(?:seconds|bytes|info)$/
const countsThings = [
  'walferry_ready',
  'walferry_problem',
  'walferry_connected',
  'walferry_gaps',
  'walferry_slot_wal_status',
  'walferry_backup_running',
  'walferry_timeline',
  'walferry_spool_segments',
  'walferry_spool_set_aside_files',
  'walferry_uploads_in_flight',
]
const foreignUnits =
  /_(?:milliseconds|ms|micros\w*|nanos\w*|minutes|hours|kilobytes|kb|megabytes|mb|percent|ratio100)(?:_|$)/

for (const [name, entry] of entries) {
  test(`${name} is named as Prometheus asks for`, () => {
    assert.match(name, /^walferry(?:_[a-z]+)+$/)
    assert.doesNotMatch(name, foreignUnits)
    assert.equal(name.endsWith('_total'), entry.type === 'counter', 'counters, and nothing else, end in _total')
    assert.doesNotMatch(name, /_(?:count|sum|bucket)$/, 'those endings belong to histograms')
    if (entry.type === 'histogram') assert.match(name, /_(?:seconds|bytes)$/)
    if (entry.type === 'gauge') assert.ok(units.test(name) || countsThings.includes(name), 'a gauge ends in its unit')
    assert.match(entry.help, /^[A-Z1].*\.$/s, 'the help is a sentence')
    for (const label of 'labels' in entry ? entry.labels : []) {
      assert.match(label, /^[a-z]+$/)
      assert.ok(!['le', 'quantile', 'job', 'instance'].includes(label))
    }
  })
}

test('buckets rise, and cover three powers of ten at least', () => {
  for (const [name, entry] of entries) {
    if (entry.type !== 'histogram') continue
    const { buckets } = entry
    assert.deepEqual(
      [...buckets],
      [...new Set(buckets)].toSorted((a, b) => a - b),
      name,
    )
    assert.ok((buckets.at(-1) ?? 0) / (buckets[0] ?? 1) >= 1000, name)
  }
})

test('every metric of the catalogue is told, with its help and type, before anything happened', async () => {
  const text = await new MetricsRegistry(() => undefined).text()
  for (const [name, entry] of entries) {
    assert.ok(text.includes(`# HELP ${name} ${entry.help}\n`), `help of ${name}`)
    assert.ok(text.includes(`# TYPE ${name} ${entry.type}\n`), `type of ${name}`)
  }
})

test('the metrics of the process are told, too', async () => {
  const text = await new MetricsRegistry(() => undefined).text()
  for (const name of ['process_resident_memory_bytes', 'process_cpu_seconds_total', 'nodejs_eventloop_lag_seconds']) {
    assert.match(text, new RegExp(`^${name}\\{?.* `, 'm'))
  }
})

test('numbers are told as they were given, with their labels', async () => {
  const registry: MetricsRegistry = new MetricsRegistry(() => undefined)
  registry.set('walferry_connected', 1)
  registry.set('walferry_connected', 0)
  registry.set('walferry_position_bytes', 2 ** 53 - 1, { position: 'synced' })
  registry.add('walferry_received_bytes_total', 100)
  registry.add('walferry_received_bytes_total', 23)
  registry.add('walferry_store_failures_total', 2, { code: 'STORE_UNREACHABLE' })
  registry.observe('walferry_fsync_duration_seconds', 0.002)
  registry.observe('walferry_upload_duration_seconds', 0.5, { kind: 'segment' })
  const lines = (await registry.text()).split('\n')
  for (const line of [
    'walferry_connected 0',
    'walferry_position_bytes{position="synced"} 9007199254740991',
    'walferry_received_bytes_total 123',
    'walferry_store_failures_total{code="STORE_UNREACHABLE"} 2',
    'walferry_fsync_duration_seconds_bucket{le="0.001"} 0',
    'walferry_fsync_duration_seconds_bucket{le="0.003"} 1',
    'walferry_fsync_duration_seconds_count 1',
    'walferry_upload_duration_seconds_sum{kind="segment"} 0.5',
  ]) {
    assert.ok(lines.includes(line), line)
  }
})

test('every metric takes a number with its labels, and refuses a label that it does not have', async () => {
  const registry = new MetricsRegistry(() => undefined)
  for (const [name, entry] of entries) {
    const labels = Object.fromEntries(('labels' in entry ? entry.labels : []).map((label) => [label, 'x']))
    give(registry, name, entry.type, labels)
    assert.throws(() => give(registry, name, entry.type, { ...labels, nonsense: 'x' }), /nonsense/, name)
  }
  const text = await registry.text()
  for (const [name, entry] of entries) {
    const sample = entry.type === 'histogram' ? `${name}_count` : name
    assert.match(text, new RegExp(`^${sample}(?:\\{.*"x".*\\})? [1-9]`, 'm'), name)
  }
})

/** The same registry, as a caller sees it whom no type holds back. */
interface Untyped {
  set(name: string, value: number, labels: Labels): void
  add(name: string, value: number, labels: Labels): void
  observe(name: string, value: number, labels: Labels): void
}

function give(metrics: Untyped, name: string, type: 'gauge' | 'counter' | 'histogram', labels: Labels): void {
  if (type === 'gauge') metrics.set(name, 1, labels)
  else if (type === 'counter') metrics.add(name, 1, labels)
  else metrics.observe(name, 1, labels)
}

test('what is only worth computing when somebody looks is computed then', async () => {
  let looks = 0
  const registry = new MetricsRegistry((metrics) => metrics.set('walferry_spool_bytes', ++looks))
  assert.equal(looks, 0)
  assert.match(await registry.text(), /^walferry_spool_bytes 1$/m)
  assert.match(await registry.text(), /^walferry_spool_bytes 2$/m)
})

test('what is cleared is not told any more, and its help and type still are', async () => {
  const registry = new MetricsRegistry(() => undefined)
  registry.set('walferry_slot_wal_status', 1, { status: 'reserved' })
  registry.set('walferry_slot_safe_bytes', Number.POSITIVE_INFINITY)
  assert.match(await registry.text(), /^walferry_slot_safe_bytes \+Inf$/m)
  registry.clear('walferry_slot_wal_status')
  registry.clear('walferry_slot_safe_bytes')
  const text = await registry.text()
  assert.doesNotMatch(text, /^walferry_slot_(?:wal_status|safe_bytes)/m)
  assert.match(text, /^# TYPE walferry_slot_safe_bytes gauge$/m)
  registry.set('walferry_slot_safe_bytes', 7)
  assert.match(await registry.text(), /^walferry_slot_safe_bytes 7$/m)
})

test('two registries know nothing of each other', async () => {
  const [one, other] = [new MetricsRegistry(() => undefined), new MetricsRegistry(() => undefined)]
  one.add('walferry_received_bytes_total', 7)
  assert.match(await one.text(), /^walferry_received_bytes_total 7$/m)
  assert.match(await other.text(), /^walferry_received_bytes_total 0$/m)
  assert.match(one.contentType, /^text\/plain; version=0\.0\.4/)
})
