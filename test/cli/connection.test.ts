import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkTarget } from '../../src/cli/connection.ts'
import { parseFlags } from '../../src/cli/flags.ts'
import { receiveOptions } from '../../src/cli/receive-options.ts'
import { standInsLayer, type Variables, variablesLayer } from '../../src/cli/values.ts'
import type { Target } from '../../src/pg/target.ts'

function check(args: readonly string[], env: Variables) {
  const { layer } = parseFlags(receiveOptions, args)
  return checkTarget({ layers: [layer, variablesLayer(env), standInsLayer(env)], problems: [] }, env)
}

function target(args: readonly string[], env: Variables = {}): Target {
  const checked = check(args, env)
  if ('value' in checked) return checked.value
  throw new Error(checked.problems.map((one) => one.text).join('\n'))
}

function problems(args: readonly string[], env: Variables = {}) {
  const checked = check(args, env)
  return 'problems' in checked ? checked.problems : []
}

test('the URL wins over --host, --port and --username, those over the variables of libpq', () => {
  const env = { PGHOST: 'c', PGPORT: '3', PGUSER: 'z', PGDATABASE: 'd', PGSSLMODE: 'require', PGPASSWORD: 'p' }
  const flags = ['-h', 'b', '-p', '2', '-U', 'y']
  const whole = target(['--url', 'postgres://x@a:1/', ...flags], env)
  assert.deepEqual([whole.hosts[0]?.name, whole.hosts[0]?.port, whole.user], ['a', 1, 'x'])
  assert.deepEqual([whole.database, whole.sslMode, whole.password], ['d', 'require', 'p'])
  const part = target(['--url', 'postgres://a/', ...flags], env)
  assert.deepEqual([part.hosts[0]?.name, part.hosts[0]?.port, part.user], ['a', 2, 'y'])
  const bare = target(flags, env)
  assert.deepEqual([bare.hosts[0]?.name, bare.hosts[0]?.port, bare.user], ['b', 2, 'y'])
  const variables = target([], { ...env, WALFERRY_HOST: 'w' })
  assert.deepEqual([variables.hosts[0]?.name, variables.hosts[0]?.port, variables.user], ['w', 3, 'z'])
})

test('every fault of the connection is told with its origin', () => {
  const found = problems(['-d', 'postgres://a/?nonsense=1', '-p', 'x'], { PGPORT: 'not looked at', PGSSLMODE: 'y' })
  assert.deepEqual(
    found.map((one) => one.text),
    [
      '-d: the connection string has an unknown parameter "nonsense"',
      'PGSSLMODE: "y" is no value of sslmode',
      '-p: "x" is not a port',
    ],
  )
  const [port] = problems([], { WALFERRY_PORT: '0' })
  assert.equal(port?.text, 'WALFERRY_PORT: "0" is not a port')
})

test('what is wrong only together is told with all that took part', () => {
  const found = problems([], { PGSSLMODE: 'require', PGSSLROOTCERT: 'system', PGHOST: '' })
  assert.equal(found.length, 1)
  assert.match(found[0]?.text ?? '', /^PGSSLMODE, PGSSLROOTCERT: /)
})

test('a password in the URL is refused with the reason that fits its place and the way out, and not repeated', () => {
  for (const url of ['postgres://u:hunter2@h/', 'postgres://h/?password=hunter2', 'host=h password=hunter2']) {
    const flag = problems(['--url', url])
    const variable = problems([], { WALFERRY_URL: url })
    const layer = new Map([['url', { text: url, from: '/etc/walferry.yaml: url' }]] as const)
    const file = checkTarget({ layers: [layer], problems: [] }, {})
    const told = [flag, variable, 'problems' in file ? file.problems : []].map((found) => found[0]?.text ?? '')
    assert.match(told[0] ?? '', /^--url: the connection string holds a password, .* process list$/)
    assert.match(told[1] ?? '', /^WALFERRY_URL: the connection string holds a password, and is often shown/)
    assert.match(
      told[2] ?? '',
      /^\/etc\/walferry.yaml: url: the connection string holds a password, and is often shown/,
    )
    assert.match(flag[0]?.hint ?? '', /PGPASSFILE/)
    assert.ok(![flag, variable, file].some((found) => JSON.stringify(found).includes('unter2')))
  }
})
