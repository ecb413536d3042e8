import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accept, acceptBoth, readConfig as readSources } from '../../src/cli/config.ts'
import { type Config, entryOf, type OptionName, optionNames as allNames, variableOf } from '../../src/cli/options.ts'
import { parseDurationMs, parseListen } from '../../src/cli/option-values.ts'
import { type Layer, standInsLayer, unknownVariables, type Variables, variablesLayer } from '../../src/cli/values.ts'
import { isError, type WalferryError } from '../../src/kit/errors.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

type Texts = { readonly [N in OptionName]?: string }

function layerOf(texts: Texts, from: (name: OptionName) => string): Layer {
  return new Map(
    allNames.flatMap((name) => {
      const text = texts[name]
      return text === undefined ? [] : [[name, { text, from: from(name) }]]
    }),
  )
}

/** What these flags (by long name), variables and keys of "file.yaml" come to. */
function readConfig<N extends OptionName>(
  names: readonly N[],
  flags: Texts,
  env: Variables,
  file: Texts = {},
): Config<N> {
  const layers = [
    layerOf(flags, (name) => `--${name}`),
    variablesLayer(env),
    layerOf(file, (name) => `file.yaml: ${name}`),
    standInsLayer(env),
  ]
  return readSources(names, { layers, problems: [] })
}

function problemOf(names: readonly OptionName[], flags: Texts, env: Variables = {}, file: Texts = {}): WalferryError {
  try {
    readConfig(names, flags, env, file)
  } catch (error) {
    if (isError(error, 'BAD_INPUT')) return error
    throw error
  }
  throw new Error('accepted')
}

test('a flag wins over a variable, a variable over the file, the file over the default', () => {
  const env = { WALFERRY_SLOT: 'from_variable' }
  const file = { slot: 'from_file' }
  assert.equal(readConfig(['slot'], { slot: 'from_flag' }, env, file).slot, 'from_flag')
  assert.equal(readConfig(['slot'], {}, env, file).slot, 'from_variable')
  assert.equal(readConfig(['slot'], {}, {}, file).slot, 'from_file')
  assert.equal(readConfig(['slot'], {}, {}).slot, 'walferry')
})

test("WAL-G's variables name the store where nothing of ours does", () => {
  const env = {
    WALG_S3_PREFIX: 's3://walg/a/b',
    WALG_FILE_PREFIX: '/walg',
    AWS_ENDPOINT: 'http://minio:9000',
    AWS_S3_FORCE_PATH_STYLE: 'True',
  }
  assert.deepEqual(readConfig(['store', 's3-endpoint', 's3-path-style'], {}, env), {
    store: { kind: 's3', bucket: 'walg', prefix: 'a/b' },
    's3-endpoint': 'http://minio:9000',
    's3-path-style': true,
  })
  const folder = { kind: 'folder', path: '/walg' }
  assert.deepEqual(readConfig(['store'], {}, { ...env, WALG_S3_PREFIX: '' }).store, folder)
  const ours = { kind: 'folder', path: '/ours' }
  assert.deepEqual(readConfig(['store'], {}, { ...env, WALFERRY_STORE: '/ours' }).store, ours)
  assert.deepEqual(readConfig(['store'], {}, env, { store: '/ours' }).store, ours)
  assert.deepEqual(readConfig(['store'], { store: '/ours' }, env).store, ours)
  assert.match(problemOf(['store'], {}, { WALG_S3_PREFIX: 'gs://bucket/x' }).message, /^WALG_S3_PREFIX is not s3:/)
})

for (const [text, place] of [
  ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '' }],
  ['s3://bucket/', { kind: 's3', bucket: 'bucket', prefix: '' }],
  ['s3://bucket/a/b//', { kind: 's3', bucket: 'bucket', prefix: 'a/b' }],
  ['file:///var/archive', { kind: 'folder', path: '/var/archive' }],
  ['file://localhost/var/my%20archive', { kind: 'folder', path: '/var/my archive' }],
  ['/var/archive', { kind: 'folder', path: '/var/archive' }],
  ['archive', { kind: 'folder', path: 'archive' }],
  ['./s3:bucket', { kind: 'folder', path: './s3:bucket' }],
  ['backups/2026:11', { kind: 'folder', path: 'backups/2026:11' }],
] as const) {
  test(`"${text}" is a store`, () => {
    assert.deepEqual(readConfig(['store'], { store: text }, {}).store, place)
  })
}

for (const text of [
  '',
  's3://',
  's3:///prefix',
  's3:bucket/prefix',
  'S3:/bucket',
  'file:/var/archive',
  'gs://bucket',
  'file://host/path',
  's3://key:secret@bucket/prefix',
]) {
  test(`"${text}" is no store`, () => {
    const { message } = problemOf(['store'], { store: text })
    assert.equal(
      message,
      '--store is not s3://bucket/prefix, file:///path or the path of a folder (with a colon: ./a:b)',
    )
  })
}

test('only a variable of ours that no option has is told as unknown', () => {
  const known = Object.fromEntries(allNames.map((name) => [variableOf(name), 'x']))
  const kubernetes = {
    WALFERRY_SERVICE_HOST: '10.0.0.11',
    WALFERRY_SERVICE_PORT: '9868',
    WALFERRY_SERVICE_PORT_METRICS: '9868',
    WALFERRY_PORT: 'tcp://10.0.0.11:9868',
    WALFERRY_PORT_9868_TCP: 'tcp://10.0.0.11:9868',
    WALFERRY_PORT_9868_TCP_PROTO: 'tcp',
    WALFERRY_PORT_9868_TCP_PORT: '9868',
    WALFERRY_PORT_9868_TCP_ADDR: '10.0.0.11',
  }
  assert.deepEqual(unknownVariables({ ...known, ...kubernetes, PGHOST: 'x', HOME: '/' }), [])
  const slips = { WALFERRY_STROE: 'x', WALFERRY_NO_LOOP: 'true', WALFERRY_: '' }
  assert.deepEqual(unknownVariables({ ...known, ...slips }), Object.keys(slips))
  assert.equal(readConfig(['port'], {}, kubernetes).port, undefined)
  assert.equal(readConfig(['port'], {}, { WALFERRY_PORT: '5433' }).port, '5433')
})

test('an empty variable is one that is not set, and an empty flag is a bad value', () => {
  assert.equal(readConfig(['slot'], {}, { WALFERRY_SLOT: '' }).slot, 'walferry')
  assert.match(problemOf(['slot'], { slot: '' }, { WALFERRY_SLOT: 'x' }).message, /^--slot: "" is not/)
})

test('only the options that are asked for are looked at', () => {
  const config = readConfig(
    ['slot'],
    { store: '', 'ship-interval': 'x' },
    { WALFERRY_LISTEN: 'nonsense', WALFERRY_PORT_8080_TCP: 'tcp://' },
  )
  assert.deepEqual(config, { slot: 'walferry' })
})

test('an option without default that is not given is not there', () => {
  assert.equal(readConfig(['url', 'endpos'], {}, {}).url, undefined)
  assert.equal('endpos' in readConfig(['endpos'], {}, {}), false)
})

test('the configuration is frozen', () => {
  assert.ok(Object.isFrozen(readConfig(['slot'], {}, {})))
})

test('a required option that is missing names both places where it can be given', () => {
  assert.match(problemOf(['spool'], {}).message, /^--spool \(or WALFERRY_SPOOL\) is missing$/)
})

test('everything that is wrong is told at once, each with where it came from', () => {
  const flags = { spool: '', 'ship-interval': '1 day', listen: '9868' }
  const file = { slot: 'A', listen: 'also bad, and not looked at' }
  const env = { WALFERRY_LOG_LEVEL: 'loud', WALFERRY_UPLOAD_CONCURRENCY: '65', WALFERRY_LISTEN: '127.0.0.1:1' }
  const names = [
    'spool',
    'store',
    'slot',
    'ship-interval',
    'listen',
    'log-level',
    'upload-concurrency',
    'loop',
  ] as const
  const { message, hint } = problemOf(names, flags, env, file)
  const lines = message.split('\n').map((line) => line.trim())
  assert.equal(lines.length, 7, message)
  for (const expected of [
    /^--spool: "" is not /,
    /^--store \(or WALFERRY_STORE\) is missing$/,
    /^file\.yaml: slot: "A" is not up to 63 of a-z/,
    /^--ship-interval: "1 day" is not a duration such as/,
    /^--listen: "9868" is not HOST:PORT, or off$/,
    /^WALFERRY_LOG_LEVEL: "loud" is not error, warn, info or debug$/,
    /^WALFERRY_UPLOAD_CONCURRENCY: "65" is not a number from 1 to 64$/,
  ]) {
    assert.ok(
      lines.some((line) => expected.test(line)),
      `${expected} in: ${message}`,
    )
  }
  assert.equal(hint, 'See --help.')
})

test('a problem that says what to do leaves the others their way to the help', () => {
  const bad = { problems: [{ text: '--slot: "A" is not a name' }] }
  const password = { problems: [{ text: '--url: no password', hint: 'Set PGPASSFILE.' }] }
  assert.throws(
    () => acceptBoth(bad, password),
    (error) => isError(error, 'BAD_INPUT') && error.hint === 'See --help. Set PGPASSFILE.',
  )
  assert.throws(
    () => accept(password),
    (error) => isError(error, 'BAD_INPUT') && error.hint === 'Set PGPASSFILE.',
  )
})

for (const [text, ms] of [
  ['500ms', 500],
  ['1s', 1000],
  ['90', 90_000],
  ['1.5', 1500],
  ['0', 0],
  ['0.25s', 250],
  ['2m', 120_000],
  ['1.5h', 5_400_000],
  [' 1s ', 1000],
] as const) {
  test(`"${text}" is a duration of ${ms} ms`, () => {
    assert.equal(parseDurationMs(text), ms)
    assert.equal(readConfig(['ship-interval'], {}, { WALFERRY_SHIP_INTERVAL: text })['ship-interval'], ms)
  })
}

for (const text of ['', 's', '-1s', '1 s', '1d', '1e3', '0x10', '1s2m', '1,5s', 'Infinity', '.5s', '1.s', '1S']) {
  test(`"${text}" is no duration`, () => {
    assert.throws(() => parseDurationMs(text))
  })
}

test('a duration that no timer of Node.js can hold is refused: it would fire at once', () => {
  // setTimeout takes up to 2^31 - 1 ms, which is 24.8 days, and makes 1 ms of anything longer.
  assert.equal(readConfig(['drain-timeout'], { 'drain-timeout': '595h' }, {})['drain-timeout'], 595 * 3_600_000)
  for (const name of ['drain-timeout', 'ship-interval', 'status-interval', 'retry-for'] as const) {
    assert.match(problemOf([name], { [name]: '597h' }).message, new RegExp(`^--${name}: "597h" is not`))
  }
})

test('a status interval below 100 ms is refused', () => {
  assert.equal(readConfig(['status-interval'], { 'status-interval': '100ms' }, {})['status-interval'], 100)
  assert.match(
    problemOf(['status-interval'], { 'status-interval': '99ms' }).message,
    /^--status-interval: "99ms" is not at least 100ms$/,
  )
})

for (const [text, expected] of [
  ['127.0.0.1:9868', { host: '127.0.0.1', port: 9868 }],
  [':9868', { host: '127.0.0.1', port: 9868 }],
  ['0.0.0.0:80', { host: '0.0.0.0', port: 80 }],
  ['metrics.example:1', { host: 'metrics.example', port: 1 }],
  ['[::1]:9868', { host: '::1', port: 9868 }],
  ['[::]:65535', { host: '::', port: 65_535 }],
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['off', null],
] as const) {
  test(`"${text}" is an address to listen on`, () => {
    assert.deepEqual(parseListen(text), expected)
    assert.deepEqual(readConfig(['listen'], { listen: text }, {}).listen, expected)
  })
}

for (const text of [
  '',
  '9868',
  '127.0.0.1',
  '127.0.0.1:',
  '127.0.0.1:65536',
  '127.0.0.1:999999',
  '::1:9868',
  '[::1]',
  'h:1:2',
  'h:-1',
  'h:1x',
  'OFF',
]) {
  test(`"${text}" is no address to listen on`, () => {
    assert.throws(() => parseListen(text))
  })
}

test('a boolean is a flag, its denial, or a word', () => {
  for (const [given, expected] of [
    ['true', true],
    ['True', true],
    ['yes', true],
    ['on', true],
    ['1', true],
    ['false', false],
    ['no', false],
    ['off', false],
    ['0', false],
  ] as const) {
    assert.equal(readConfig(['loop'], { loop: given }, {}).loop, expected)
    assert.equal(readConfig(['loop'], {}, { WALFERRY_LOOP: given }).loop, expected)
    assert.equal(readConfig(['loop'], {}, {}, { loop: given }).loop, expected)
  }
  assert.match(
    problemOf(['loop'], {}, { WALFERRY_LOOP: 'maybe' }).message,
    /^WALFERRY_LOOP: "maybe" is not true or false$/,
  )
})

test('a slot has a name that PostgreSQL takes', () => {
  assert.equal(readConfig(['slot'], { slot: 'a_1' }, {}).slot, 'a_1')
  for (const slot of ['A', 'a-b', 'a b', 'a"b', 'é', 'x'.repeat(64)]) {
    assert.match(problemOf(['slot'], { slot }).message, /^--slot: ".*" is not up to 63 of a-z, 0-9 and _$/)
  }
})

test('a number of uploads is a whole one from 1 to 64', () => {
  for (const good of ['1', '64', '7']) {
    assert.equal(
      readConfig(['upload-concurrency'], { 'upload-concurrency': good }, {})['upload-concurrency'],
      Number(good),
    )
  }
  for (const bad of ['0', '65', '1.5', '-1', 'x', '1e1', '']) {
    assert.match(
      problemOf(['upload-concurrency'], { 'upload-concurrency': bad }).message,
      /is not a number from 1 to 64/,
    )
  }
})

test('an end position is read as PostgreSQL writes it', () => {
  assert.equal(readConfig(['endpos'], { endpos: '16/B374D848' }, {}).endpos, parseLsn('16/B374D848'))
  assert.match(problemOf(['endpos'], { endpos: '12345' }).message, /^--endpos: "12345" is not a WAL position such as/)
})

test('an S3 endpoint is a URL of HTTP without credentials, which an error does not show', () => {
  for (const good of ['http://s3:9000', 'https://s3.example/', 'https://gateway.example/s3']) {
    assert.equal(readConfig(['s3-endpoint'], { 's3-endpoint': good }, {})['s3-endpoint'], good)
  }
  for (const bad of ['s3.example:9000', 'ftp://x', 'https://', 'https://key:secret@s3.example', 'http://s3/a@b']) {
    const { message } = problemOf(['s3-endpoint'], { 's3-endpoint': bad })
    assert.equal(message, '--s3-endpoint is not a URL that begins with https:// or http://, without user and password')
  }
})

test('a password is nothing that an option takes, and no error shows it', () => {
  assert.equal(readConfig(['password'], { password: 'false' }, {}).password, false)
  for (const text of ['true', 'hunter2']) {
    const { message } = problemOf(['password'], {}, { WALFERRY_PASSWORD: text })
    assert.match(message, /^WALFERRY_PASSWORD is not something that walferry takes: .* PGPASSFILE or PGPASSWORD$/)
  }
})

test('a variable is named after its option', () => {
  assert.equal(variableOf('ship-interval'), 'WALFERRY_SHIP_INTERVAL')
  assert.equal(variableOf('s3-path-style'), 'WALFERRY_S3_PATH_STYLE')
  assert.equal(new Set(allNames.map(variableOf)).size, allNames.length)
})

test('the table holds no option that cannot work', () => {
  const letters = new Map<string, OptionName>()
  const flags = new Set<string>()
  for (const name of allNames) {
    const entry = entryOf(name)
    // `--no-x` is the denial of x: an option of that name could never be given.
    assert.match(name, /^(?!no-)[a-z0-9]+(?:-[a-z0-9]+)*$/)
    assert.match(entry.help, /^[A-Za-z-].*\.$/, `the help of --${name} is a sentence`)
    assert.ok(entry.fallback === undefined || entry.required === undefined, `--${name} is required, and has a default`)
    if (entry.fallback !== undefined)
      assert.ok(name in readConfig([name], {}, {}), `the default of --${name} is a good value`)
    if (entry.boolean === true)
      assert.ok(name in readConfig([name], { [name]: 'false' }, {}), `--no-${name} is a good value`)
    else assert.equal(entry.offAlias, undefined, `--${name} cannot be switched off`)
    for (const flag of [name, ...(entry.longAlias === undefined ? [] : [entry.longAlias])]) {
      assert.ok(!flags.has(flag), `--${flag} stands for two options`)
      flags.add(flag)
    }
    for (const letter of [entry.alias, entry.offAlias]) {
      if (letter === undefined) continue
      assert.match(letter, /^[A-Za-z]$/)
      assert.equal(letters.get(letter), undefined, `-${letter} stands for two options`)
      letters.set(letter, name)
    }
  }
})
