/** The command line of `restore`, and what it writes into a server's settings. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { primaryConninfo } from '../../src/cli/primary-conninfo.ts'
import { parseTargetTime, parseTargetTimeline, parseXid } from '../../src/cli/recovery-target.ts'
import { cleanupCommand, fetchCommand } from '../../src/cli/restore-command.ts'
import { progressText } from '../../src/cli/progress-text.ts'
import { parseStore } from '../../src/cli/store-url.ts'
import { sleep } from '../../src/kit/abort.ts'
import { parseConninfo } from '../../src/pg/conninfo.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { deadline } from '../support/postgres.ts'
import { runHere } from '../support/run-here.ts'
import { tempFolder } from '../support/temp.ts'
import { program, startProgram } from '../support/walferry.ts'

const fetch = '/opt/walferry/bin/walferry-fetch'
const nothing = {
  's3-endpoint': undefined,
  's3-region': undefined,
  's3-path-style': undefined,
  's3-sse': undefined,
  's3-storage-class': undefined,
  's3-ca-file': undefined,
  'encryption-key-file': undefined,
  'encryption-key-transform': undefined,
}

/** As a server runs it: PostgreSQL replaces what stands behind a %, and the shell splits the words. */
function asRun(command: string): string[] {
  const replaced = command.replaceAll(/%(.)/g, (_, letter: string) => (letter === '%' ? '%' : `<${letter}>`))
  const script = replaced.replace(/^/, 'for word in ').replaceAll(/<(.)>/g, "'<$1>'")
  return execFileSync('sh', ['-c', `${script}; do printf '%s\\n' "$word"; done`], { encoding: 'utf8' })
    .trim()
    .split('\n')
}

test('restore_command finds the archive from anywhere, whatever its name is', () => {
  const archive = "/srv/it's 100%f of $it"
  const config = { ...nothing, store: parseStore(archive) }
  assert.deepEqual(asRun(fetchCommand(fetch, config)), [fetch, '<f>', '<p>', '--store', archive])
  const relative = { ...nothing, store: parseStore('archive') }
  assert.deepEqual(asRun(fetchCommand(fetch, relative)).slice(3), ['--store', join(process.cwd(), 'archive')])
  assert.deepEqual(asRun(cleanupCommand("/opt/it's/walferry-fetch")), ["/opt/it's/walferry-fetch", '--cleanup'])
})

test('restore_command says where in S3 the archive is, and has what only reading needs', () => {
  const config = {
    ...nothing,
    store: parseStore('s3://bucket/prefix'),
    's3-endpoint': 'https://s3.example:9000',
    's3-region': 'eu-central-1',
    's3-path-style': false,
    's3-storage-class': 'STANDARD_IA',
    's3-ca-file': 'ca.pem',
    'encryption-key-file': '/etc/walferry/key',
    'encryption-key-transform': 'hex',
  } as const
  const s3 = '--store s3://bucket/prefix --s3-endpoint https://s3.example:9000 --s3-region eu-central-1'
  const files = `--s3-ca-file ${join(process.cwd(), 'ca.pem')} --encryption-key-file /etc/walferry/key`
  const expected = [
    fetch,
    '<f>',
    '<p>',
    ...`${s3} ${files} --encryption-key-transform hex --no-s3-path-style`.split(' '),
  ]
  assert.deepEqual(asRun(fetchCommand(fetch, config)), expected)
})

test('primary_conninfo is read back as the same server, and holds no password', () => {
  const variables = { PGPASSWORD: 'secret', PGUSER: "o'neil \\", PGPASSFILE: '/etc/walferry/pgpass' }
  const target = parseTarget('postgres://a.example:5433,[::1]/?sslmode=verify-full&sslrootcert=/etc/ca.pem', variables)
  const text = primaryConninfo(target)
  assert.ok(!text.includes('secret'))
  assert.deepEqual(parseTarget(text, { PGPASSWORD: 'secret' }), { ...target, database: target.database })
  assert.equal(parseConninfo(text).application_name, undefined)
})

test('a target time needs its zone', () => {
  assert.equal(parseTargetTime('2026-11-20T10:42:23.478944Z').time.toISOString(), '2026-11-20T10:42:23.478Z')
  assert.equal(parseTargetTime(' 2026-11-20 11:42+01').time.toISOString(), '2026-11-20T10:42:00.000Z')
  assert.equal(parseTargetTime('2026-11-20 11:42:00+0130').time.toISOString(), '2026-11-20T10:12:00.000Z')
  for (const text of ['2026-11-20 10:42:23', '2026-11-20', 'now', '2026-13-20 10:42Z', '1763635343']) {
    assert.throws(() => parseTargetTime(text), text)
  }
})

test('timelines and transactions are numbers', () => {
  assert.deepEqual(['latest', '2', '4294967295'].map(parseTargetTimeline), ['latest', 2, 4_294_967_295])
  for (const text of ['0', '-1', '4294967296', 'current', '0x2']) assert.throws(() => parseTargetTimeline(text), text)
  assert.equal(parseXid('1234'), '1234')
  for (const text of ['0', 'x', '', '1.5']) assert.throws(() => parseXid(text), text)
})

test('the progress tells bytes, rate and time left, and no nonsense where the total is not known', () => {
  const gib = 1024 ** 3
  assert.equal(progressText(gib, 4 * gib, 10), '1.0 GiB of 4.0 GiB (25 %), 102.4 MiB/s, 30 s left')
  assert.equal(progressText(100, 0, 1), '100 B, 100 B/s')
  assert.equal(progressText(0, 100, 0), '0 B of 100 B (0 %), 0 B/s')
})

const refused: readonly (readonly [args: readonly string[], said: RegExp])[] = [
  [[], /DIR comes first, options after/],
  [['--store', 'x'], /DIR comes first/],
  [['d', '--store', 'x', '--target', 'immediate', '--target-xid', '5'], /more than one target/],
  [['d', '--store', 'x', '--target-time', '2026-11-20 10:42'], /--target-time: "2026-11-20 10:42" is not a time/],
  [['d', '--store', 'x', '--backup', 'yesterday'], /--backup: "yesterday" is not LATEST, or a name/],
  [
    ['d', '--store', 'x', '--tablespace-mapping', '/a=/b', '--tablespace-mapping', '/c'],
    /--tablespace-mapping: [^]* is not OLD=NEW/,
  ],
]

for (const [args, said] of refused) {
  test(`restore ${args.join(' ')} is refused with exit code 1`, async (t) => {
    const { code, stderr } = await runHere(['restore', ...args], { cwd: await tempFolder(t) })
    assert.equal(code, 1, stderr)
    assert.match(stderr, said)
  })
}

test('a restore that is stopped says so, and what it has left', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const archive = join(import.meta.dirname, '../../../test/fixtures/walg')
  const running = startProgram(program('walferry'), ['restore', data, '--store', archive, '--target', 'immediate'])
  t.after(() => running.kill())
  for (const signal = deadline(); !(await readdir(data).catch((): string[] => [])).includes('PG_VERSION'); )
    await sleep(1, signal)
  running.send('SIGINT')
  assert.deepEqual(await running.exit, { code: 1, signal: null })
  assert.match(running.stderr, /^warning: stopped by SIGINT\nwarning: .* holds an unfinished restore, .*\n$/)
})

test('a store that is not there is told at once with what to do, and not again at each attempt', async (t) => {
  const args = ['restore', 'data', '--store', 'nothing', '--retry-for', '2']
  const { code, stderr } = await runHere(args, { cwd: await tempFolder(t) })
  assert.equal(code, 1)
  const told = ['warning: the folder .*nothing is not there; trying again for 2 s', 'hint:  .*mkdir -p .*nothing']
  const end = ['error: the folder .*nothing is not there \\[STORE_UNREACHABLE\\]', 'hint:  .*mkdir -p .*nothing']
  assert.match(stderr, new RegExp(`^${[...told, ...end].join('\n')}\n$`))
})
