/** docker/compose.yml and what it mounts: no engine runs here, so what can be read is held against what is there. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import * as v from 'valibot'
import { parseDurationMs } from '../../src/cli/option-values.ts'
import { findPassword } from '../../src/pg/password-file.ts'
import { tempFolder } from '../support/temp.ts'
import { configured, documents, readDocker, root } from './command-line.ts'
import { imageEnvironment, parseDockerfile } from './dockerfile.ts'

const texts = v.optional(v.array(v.string()), [])
const service = v.object({
  image: v.string(),
  depends_on: v.optional(v.record(v.string(), v.object({ condition: v.string() })), {}),
  command: texts,
  environment: v.optional(v.record(v.string(), v.string()), {}),
  user: v.optional(v.string()),
  ports: texts,
  volumes: texts,
  healthcheck: v.optional(v.object({ test: v.array(v.string()) })),
  stop_grace_period: v.optional(v.string()),
  read_only: v.optional(v.boolean()),
  cap_drop: texts,
})
const compose = v.parse(
  v.object({ services: v.record(v.string(), service), volumes: v.record(v.string(), v.null()) }),
  documents(readDocker('compose.yml'))[0],
)
const services = Object.entries(compose.services)
const walferry = compose.services['walferry']
assert.ok(walferry)

test('walferry takes its command line and its variables', async () => {
  const ofImage = imageEnvironment(parseDockerfile(readDocker('Dockerfile')))
  const config = await configured(walferry.command, { ...ofImage, ...walferry.environment })
  const mounts = walferry.volumes.map((mount) => mount.split(':')[1])
  assert.ok(
    mounts.some((mount) => config.spool.startsWith(`${mount}/`)),
    `${config.spool} is in no volume`,
  )
  assert.deepEqual(config.listen, { host: '0.0.0.0', port: 9868 })
  const grace = parseDurationMs(walferry.stop_grace_period ?? '0')
  assert.ok(grace > config['drain-timeout'], `killed after ${grace} ms, while it drains`)
})

test('whoever waits for a service to be healthy waits for one that can tell', () => {
  for (const [name, { depends_on: needs }] of services) {
    for (const [other, { condition }] of Object.entries(needs)) {
      const needed = compose.services[other]
      assert.ok(needed, `${name} depends on ${other}`)
      if (condition === 'service_healthy') assert.ok(needed.healthcheck, `${other} has no health check`)
      else assert.equal(condition, 'service_completed_successfully')
    }
  }
})

test('ports are published on loopback alone', () => {
  for (const [name, { ports }] of services) for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, name)
})

test('every image has a version, every user a number', () => {
  for (const [name, { image, user }] of services) {
    assert.match(image, /:(?!latest$)[\w.-]+$/, name)
    if (user !== undefined) assert.match(user, /^\d+:\d+$/, name)
  }
})

test('what is mounted is there', () => {
  for (const [name, { volumes }] of services) {
    for (const mount of volumes) {
      const [from = '', to = ''] = mount.split(':')
      assert.match(to, /^\//, `${name}: ${mount}`)
      if (from.startsWith('.')) assert.ok(existsSync(join(root, 'docker', from)), `${name}: there is no docker/${from}`)
      else assert.ok(from in compose.volumes, `${name}: ${from} is no volume`)
    }
  }
})

test('no password and no key stands in a variable or a command line', () => {
  for (const [name, { environment, command }] of services) {
    for (const [key, value] of Object.entries(environment)) {
      if (/PASSWORD|SECRET|_KEY|PGPASSFILE|CREDENTIALS/.test(key))
        assert.match(value, /^\/secrets\//, `${name}: ${key}`)
    }
    assert.doesNotMatch(command.join(' '), /password|secret/i, name)
  }
})

test('Prometheus scrapes the port on which walferry listens, and evaluates the alerts', () => {
  const [config] = documents(readDocker('compose/prometheus.yml'))
  const { scrape_configs: jobs, rule_files: rules } = v.parse(
    v.object({
      rule_files: v.array(v.string()),
      scrape_configs: v.array(
        v.object({ job_name: v.string(), static_configs: v.array(v.object({ targets: v.array(v.string()) })) }),
      ),
    }),
    config,
  )
  assert.deepEqual(jobs[0]?.static_configs[0]?.targets, ['walferry:9868'])
  // The alert on an absent receiver knows it by its job's name.
  assert.match(jobs[0]?.job_name ?? '', /walferry/)
  const mounted = compose.services['prometheus']?.volumes.map((mount) => mount.split(':')[1])
  for (const path of rules) assert.ok(mounted?.includes(path), `${path} is not mounted`)
})

const promtool = spawnSync('promtool', ['--version']).status === 0 ? false : 'promtool is not there'

test('Prometheus takes its configuration, and the alerts with it', { skip: promtool }, async (t) => {
  const path = join(await tempFolder(t), 'prometheus.yml')
  const text = readDocker('compose/prometheus.yml')
  writeFileSync(path, text.replace('/etc/prometheus/alerts.yml', join(root, 'grafana/alerts.yml')))
  const checked = spawnSync('promtool', ['check', 'config', path], { encoding: 'utf8' })
  assert.equal(checked.status, 0, checked.stdout + checked.stderr)
  assert.match(checked.stdout, /[1-9]\d* rules found/)
})

test('Grafana finds its dashboard where it is mounted, and Prometheus where it listens', () => {
  const grafana = compose.services['grafana']
  const mounted = grafana?.volumes.map((mount) => mount.split(':')[1] ?? '') ?? []
  const [dashboards] = documents(readDocker('compose/grafana-dashboards.yml'))
  const { providers } = v.parse(
    v.object({ providers: v.array(v.object({ options: v.object({ path: v.string() }) })) }),
    dashboards,
  )
  const home = grafana?.environment['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'] ?? ''
  assert.ok(mounted.includes(home))
  assert.ok(home.startsWith(`${providers[0]?.options.path}/`))
  assert.match(readDocker('compose/grafana-datasource.yml'), /url: http:\/\/prometheus:9090$/m)
})

describe('setup.sh', () => {
  const skip = process.getuid?.() === 0 ? false : 'it gives files to other users, which takes root'

  test('makes up secrets that only their users can read, and keeps them', { skip }, async (t) => {
    const [postgres, s3] = [999, 10_002]
    const folder = await tempFolder(t)
    for (const name of ['secrets', 'archive']) mkdirSync(join(folder, name))
    const script = join(folder, 'setup.sh')
    writeFileSync(script, readDocker('compose/setup.sh').replaceAll(/\/(?=secrets|archive)/g, `${folder}/`))
    execFileSync('sh', [script])
    const file = (name: string): string => join(folder, 'secrets', name)
    for (const [name, expected] of [
      ['postgres/password', postgres],
      ['postgres/pgpass', postgres],
      ['postgres/walferry', postgres],
      ['walferry/pgpass', 10_001],
      ['walferry/s3', 10_001],
      ['s3/root', s3],
    ] as const) {
      const { mode, uid } = statSync(file(name))
      assert.deepEqual([name, mode & 0o777, uid], [name, 0o600, expected])
    }
    const pgpass = readFileSync(file('walferry/pgpass'), 'utf8')
    const password = readFileSync(file('postgres/walferry'), 'utf8').trim()
    assert.match(password, /^[0-9a-f]{48}$/)
    for (const database of ['replication', 'postgres']) {
      const wanted = { host: 'postgres', port: 5432, database, user: 'walferry' }
      assert.equal(findPassword(pgpass, wanted), password)
    }
    const key = /ROOT_SECRET_KEY=(\w{48})$/m.exec(readFileSync(file('s3/root'), 'utf8'))?.[1]
    assert.match(readFileSync(file('walferry/s3'), 'utf8'), new RegExp(`^aws_secret_access_key = ${key}$`, 'm'))
    const bucket = new URL(walferry.environment['WALFERRY_STORE'] ?? '').host
    assert.equal(statSync(join(folder, 'archive', bucket)).uid, s3)

    execFileSync('sh', [script])
    assert.equal(readFileSync(file('walferry/pgpass'), 'utf8'), pgpass)
  })
})
