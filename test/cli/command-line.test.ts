/** The command line as its users write it: what it says, what it never says, and how it exits. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { deadline } from '../support/postgres.ts'
import { runHere } from '../support/run-here.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, runFetch } from '../support/walferry.ts'

async function walferry(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return await runHere(args, { env })
}

test('--help and --version print to standard output and exit 0, without anything else that is required', async () => {
  for (const args of [['--help'], ['receive', '--help'], ['fetch', '--help'], ['receive', '--slot', 'a', '--help']]) {
    const { code, stdout, stderr } = await walferry(args)
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /Usage:/)
  }
  for (const args of [['--version'], ['receive', '--version']]) {
    const { code, stdout, stderr } = await walferry(args)
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
  }
})

test('what is no command exits 126: PostgreSQL may have started it as restore_command', async () => {
  for (const args of [[], ['fech', 'a', 'b'], ['--store', '/tmp', 'fetch', 'a', 'b'], ['-h'], ['']]) {
    const { code, stdout, stderr } = await walferry(args)
    assert.deepEqual([code, stdout], [126, ''])
    assert.match(
      stderr,
      /^error: .* \[BAD_INPUT\]\nhint: {2}Commands: receive, fetch, push, backup, restore, check, status, list, mark, acknowledge, delete, demo\. See walferry --help\.\n$/,
    )
  }
})

test('flags, variables, file and connection are judged together, each fault with its origin', async (t) => {
  const file = join(await tempFolder(t), 'walferry.yaml')
  await writeFile(file, 'slot: A\nsloot: b\nlog-level: loud\n')
  const { code, stderr } = await walferry(
    ['receive', '--config', file, '--spol', '-E', '5', '-d', 'postgres://h/?nonsense=1'],
    {
      WALFERRY_LOG_LEVEL: 'louder',
      PGPORT: 'x',
    },
  )
  assert.equal(code, 1)
  const lines = stderr.replace(/ \[BAD_INPUT\]\nhint: .*\n$/, '').split(/\n {7}|^error: /)
  assert.deepEqual(lines.slice(1), [
    '--spol is no option of this command',
    `${file}: sloot is no option`,
    '-E: "5" is not a WAL position such as 16/B374D848',
    `${file}: slot: "A" is not up to 63 of a-z, 0-9 and _`,
    '--spool (or WALFERRY_SPOOL) is missing',
    '--store (or WALFERRY_STORE) is missing',
    'WALFERRY_LOG_LEVEL: "louder" is not error, warn, info or debug',
    '-d: the connection string has an unknown parameter "nonsense"',
    'PGPORT: "x" is not a port',
  ])
})

test('a file serves fetch, too, and one that cannot be used never means "absent"', async (t) => {
  const folder = await tempFolder(t)
  const file = join(folder, 'walferry.json')
  const ask = (env: Readonly<Record<string, string>>, ...args: string[]): Promise<Finished> =>
    runHere(['fetch', '000000010000000000000001', join(folder, 'dest'), ...args], { env })
  await writeFile(file, JSON.stringify({ store: folder, 'retry-for': 0, spool: '/not/for/fetch', listen: 'nonsense' }))
  for (const finished of [await ask({}, '--config', file), await ask({ WALFERRY_CONFIG: file })]) {
    // The store was found in the file, and looked at.
    assert.equal(finished.code, 203, finished.stderr)
  }
  assert.equal((await ask({ WALFERRY_CONFIG: join(folder, 'missing') }, '--store', folder)).code, 126)
  for (const content of ['{', '{"sotre": "/tmp"}', '[]', '{"retry-for": "soon"}']) {
    await writeFile(file, content)
    const { code, stderr } = await ask({}, '--config', file, '--store', folder)
    assert.equal(code, 126, `${content}: ${stderr}`)
    assert.ok(stderr.includes(file), stderr)
  }
})

test('an unknown variable of ours is a warning, once', async (t) => {
  const folder = await tempFolder(t)
  const env = { WALFERRY_STROE: '/secret', WALFERRY_PORT_9868_TCP: 'tcp://10.0.0.1:9868' }
  const { code, stderr } = await runFetch(['00000002.history', join(folder, 'dest'), '--store', folder], {
    signal: deadline(),
    env,
  })
  assert.equal(code, 203)
  assert.match(stderr, /^warning: there is no option for WALFERRY_STROE\nerror: /)
  // A log that programs read has it as a record; there is no server in the folder.
  const flags = ['--spool', join(folder, 'spool'), '--store', folder, '--listen', 'off', '--no-loop']
  const logged = await walferry(['receive', '-h', folder, ...flags, '--log-format', 'json'], env)
  const { level, msg }: { readonly level: string; readonly msg: string } = JSON.parse(
    logged.stderr.split('\n')[0] ?? '',
  )
  assert.deepEqual([level, msg], ['warn', 'there is no option for WALFERRY_STROE'])
})

const password = 'hunter2'

test('no output holds a password, wherever it was written', async (t) => {
  const folder = await tempFolder(t)
  const cases: readonly (readonly [args: readonly string[], env?: Readonly<Record<string, string>>])[] = [
    [['--url', `postgres://u:${password}@h/`]],
    [['--url', `postgres://h/?user=u&password=${password}`]],
    [[`-dpostgres://u:${password}@h/`]],
    [['-d', `host=h password=${password}`]],
    [['--dbname', `postgres://u:${password}@h/`, '--url', `postgres://u:${password}@h/`]],
    [[`postgres://u:${password}@h/`]],
    [['-W', password]],
    [[`--password=${password}`]],
    [['--store', `s3://key:${password}@bucket/prefix`]],
    [['--s3-endpoint', `https://key:${password}@s3.example`]],
    [[], { WALFERRY_URL: `postgres://u:${password}@h/` }],
    [[], { WALFERRY_PASSWORD: password }],
    [[], { WALFERRY_PGPASSWORD: password }],
    // Where it belongs. There is no server in the folder.
    [[], { PGPASSWORD: password, AWS_SECRET_ACCESS_KEY: password }],
  ]
  const run = async ([args, env = {}]: (typeof cases)[number], n: number): Promise<void> => {
    const rest = ['-h', folder, '-D', join(folder, `spool ${n}`), '--no-loop', '--listen', 'off', '-v']
    const store = args[0] === '--store' ? [] : ['--store', folder]
    const { code, stdout, stderr } = await walferry(['receive', ...args, ...store, ...rest], env)
    assert.equal(code, 1, stderr)
    assert.match(stderr, /error: /)
    assert.ok(!(stdout + stderr).includes('unter2'), stderr)
  }
  await Promise.all(cases.map(run))
})

test('a certificate for the listener needs its key, and both have to be readable', async (t) => {
  const folder = await tempFolder(t)
  const args = [
    'receive',
    '--spool',
    join(folder, 'spool'),
    '--store',
    join(folder, 'store'),
    '--listen',
    '127.0.0.1:0',
  ]
  const one = await walferry([...args, '--listen-tls-key', join(folder, 'a.key')])
  assert.equal(one.code, 1)
  assert.match(one.stderr, /^error: --listen-tls-key is given, and --listen-tls-cert is missing \[BAD_INPUT\]\nhint: /)
  const both = ['--listen-tls-key', join(folder, 'a.key'), '--listen-tls-cert', join(folder, 'a.crt')]
  const unreadable = await walferry([...args, ...both])
  assert.equal(unreadable.code, 1)
  assert.match(
    unreadable.stderr,
    /error: --listen-tls-cert: \S+a\.crt: the file cannot be read.*ENOENT.*\[BAD_INPUT\]\nhint: /,
  )
})
