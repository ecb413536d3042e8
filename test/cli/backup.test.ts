import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import { describeProgress } from '../../src/cli/backup-screen.ts'
import { entryOf, type OptionName } from '../../src/cli/options.ts'
import { formatSeconds } from '../../src/cli/progress-text.ts'
import { runHere } from '../support/run-here.ts'

const kib = 1024
const values: readonly (readonly [OptionName, string, unknown])[] = [
  ['part-size', '1MiB', kib ** 2],
  ['part-size', '1.5GiB', 1.5 * kib ** 3],
  ['part-size', '64GiB', 64 * kib ** 3],
  ['max-rate', '32', 32],
  ['max-rate', '32k', 32],
  ['max-rate', '1024M', kib ** 2],
  ['label', 'vor dem Umzug: ü', 'vor dem Umzug: ü'],
  ['label', 'x'.repeat(1024), 'x'.repeat(1024)],
  ['backup-schedule', '0 3 * * *', '0 3 * * *'],
]
for (const [name, text, value] of values) {
  test(`--${name} takes ${text.slice(0, 20)}`, () => {
    assert.deepEqual(v.parse(entryOf(name).schema, text), value)
  })
}

const refused: readonly (readonly [OptionName, readonly string[]])[] = [
  ['part-size', ['1023KiB', '65GiB', '1', '1GB', '-1GiB', 'GiB', '']],
  ['max-rate', ['31k', '1025M', '1G', '1.5M', '', '-32']],
  ['label', ['', 'two\nlines', 'tab\t', '\u007f', '\u0085', 'x'.repeat(1025), 'ü'.repeat(513)]],
  ['backup-schedule', ['', '0 3 * *', '0 0 3 * * *', '@daily']],
]
for (const [name, texts] of refused) {
  test(`--${name} refuses what it cannot be`, () => {
    for (const text of texts) assert.equal(v.safeParse(entryOf(name).schema, text).success, false, text)
  })
}

test('progress is told in bytes of the total, with the rate and the time that is left', () => {
  const mib = kib ** 2
  const copying = { phase: 'copying', bytes: 300 * mib, totalBytes: 1200 * mib } as const
  assert.equal(describeProgress(copying, 10_000), '300.0 MiB of 1.2 GiB (25 %), 30.0 MiB/s, 30 s left')
  assert.equal(describeProgress({ ...copying, phase: 'wal' }, 1), '300.0 MiB are stored; waiting for their WAL')
  assert.match(describeProgress({ phase: 'checkpoint', bytes: 0, totalBytes: 0 }, 0), /checkpoint/)
  assert.deepEqual([0, 59.1, 61, 3600, 7260].map(formatSeconds), [
    '0 s',
    '1 min 0 s',
    '1 min 1 s',
    '1 h 0 min',
    '2 h 1 min',
  ])
})

test('what excludes each other is refused before anything is done, with exit code 1', async () => {
  const args = ['backup', '--host', 'nowhere.invalid', '--store', '/nowhere', '--fast', '--spread']
  const { code, stderr } = await runHere(args)
  assert.equal(code, 1)
  assert.match(stderr, /--fast and --spread exclude each other \[BAD_INPUT\]/)
})
