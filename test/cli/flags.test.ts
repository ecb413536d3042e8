import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFlags } from '../../src/cli/flags.ts'
import { fetchOptions } from '../../src/cli/fetch-options.ts'
import { receiveOptions } from '../../src/cli/receive-options.ts'

function given(args: readonly string[]): Record<string, string> {
  const { layer, problems } = parseFlags(receiveOptions, args)
  assert.deepEqual(problems, [])
  return Object.fromEntries([...layer].map(([name, { text }]) => [name, text]))
}

function problems(args: readonly string[]): string[] {
  return parseFlags(receiveOptions, args).problems.map((one) => one.text)
}

for (const [args, expected] of [
  [['--slot', 'a'], { slot: 'a' }],
  [['--slot=a'], { slot: 'a' }],
  [['--slot='], { slot: '' }],
  [['--slot', ''], { slot: '' }],
  [['--endpos=-1'], { endpos: '-1' }],
  [['--loop'], { loop: 'true' }],
  [['--no-loop'], { loop: 'false' }],
  [['--loop=false'], { loop: 'false' }],
  [['--log-level', 'debug', '--no-verbose'], { 'log-level': 'debug', verbose: 'false' }],
  // pg_receivewal's, the way that getopt_long reads them.
  [['-D', '/spool'], { spool: '/spool' }],
  [['-D/spool'], { spool: '/spool' }],
  [['-Dspool'], { spool: 'spool' }],
  [['--directory', '/spool'], { spool: '/spool' }],
  [['--directory=/spool'], { spool: '/spool' }],
  [['-S', 'a', '-E', '0/1', '-s', '10'], { slot: 'a', endpos: '0/1', 'status-interval': '10' }],
  [['-s10'], { 'status-interval': '10' }],
  [['-d', 'host=a'], { url: 'host=a' }],
  [['--dbname', 'host=a'], { url: 'host=a' }],
  [['-h', 'a', '-p', '1', '-U', 'b'], { host: 'a', port: '1', username: 'b' }],
  [['--host', 'a', '--port=1', '--username', 'b'], { host: 'a', port: '1', username: 'b' }],
  [['-n', '-w', '-v'], { loop: 'false', password: 'false', verbose: 'true' }],
  [['-nwvSa'], { loop: 'false', password: 'false', verbose: 'true', slot: 'a' }],
  [['--no-password', '--synchronous'], { password: 'false', synchronous: 'true' }],
  [
    ['--create-slot', '--if-not-exists', '--drop-slot'],
    { 'create-slot': 'true', 'if-not-exists': 'true', 'drop-slot': 'true' },
  ],
] as const) {
  test(`${args.join(' ')} is read`, () => {
    assert.deepEqual(given(args), expected)
  })
}

for (const [args, expected] of [
  [['--slot', 'a', '--slot', 'a'], ['--slot is given more than once']],
  [['-S', 'a', '--slot', 'b'], ['--slot is given more than once, also as -S']],
  [
    ['--url', 'a', '-d', 'b', '--dbname', 'c'],
    ['-d is given more than once, also as --url', '--dbname is given more than once, also as --url'],
  ],
  [['--loop', '-n'], ['-n is given more than once, also as --loop']],
  [['--no-loop', '--no-loop'], ['--no-loop is given more than once']],
  [
    ['--sloot', 'a'],
    [
      '--sloot is no option of this command',
      'word 2 of the options belongs to none of them (it is not shown: it may be a secret)',
    ],
  ],
  [['--no-slot'], ['--no-slot is no option of this command']],
  [['--no-no-loop'], ['--no-no-loop is no option of this command']],
  [
    ['--retry-for', '1'],
    [
      '--retry-for is no option of this command',
      'word 2 of the options belongs to none of them (it is not shown: it may be a secret)',
    ],
  ],
  [['--constructor'], ['--constructor is no option of this command']],
  [['--__proto__=x'], ['--__proto__ is no option of this command']],
  [
    ['-Z', '9'],
    [
      '-Z is no option of this command',
      'word 2 of the options belongs to none of them (it is not shown: it may be a secret)',
    ],
  ],
  [['--slot'], ['--slot needs a value']],
  [['--slot', '--loop'], ['--slot needs a value, and a flag follows (a value that begins with -: --slot=-...)']],
  [['--no-loop=false'], ['--no-loop takes no value']],
  [
    ['a', '--', '--slot'],
    [
      '"a" belongs to none of the options',
      'word 3 of the options belongs to none of them (it is not shown: it may be a secret)',
    ],
  ],
] as const) {
  test(`${args.join(' ')} is refused`, () => {
    assert.deepEqual(problems(args), expected)
  })
}

test('everything that is wrong is found at once, and what is right is read', () => {
  const { layer, problems } = parseFlags(receiveOptions, ['--slot', 'a', '-X', '--sloot', 'b', '--spool', 'c', '--url'])
  assert.equal(problems.length, 4)
  assert.deepEqual([...layer.keys()], ['slot', 'spool'])
})

test('a flag of another command is unknown', () => {
  assert.equal(parseFlags(fetchOptions, ['--standby']).problems.length, 0)
  assert.equal(parseFlags(fetchOptions, ['--spool', 'a', '-n']).problems.length, 3)
})

for (const args of [
  ['postgres://u:hunter2@h/'],
  ['host=h', 'hunter2'],
  ['--pass!=hunter2'],
  ['--verbose', 'hunter2'],
  ['--postgres://u:hunter2@h/'],
  ['--password', 'hunter2'],
  ['--PGPASSWORD=hunter2'],
  ['-Whunter2'],
  ['-W', 'hunter2'],
  ['--', 'hunter2'],
  ['--slot', '-hunter2'],
  ['--url', '-dhunter2'],
  ['--no-password=hunter2'],
]) {
  test(`what may be a password is not repeated: ${args.join(' ')}`, () => {
    const told = problems(args)
    assert.ok(args[0] === '--password' || told.length > 0)
    assert.ok(!told.join('\n').includes('unter'), told.join('\n'))
  })
}
