/** What a person reads of a receiver: the answers to the four questions, and where they come from. */
import assert from 'node:assert/strict'
import { stripVTControlCharacters } from 'node:util'
import { test } from 'node:test'
import { type Canvas, plainCanvas } from '../../src/cli/paint.ts'
import { drawReceiver } from '../../src/cli/receiver-screen.ts'
import type { Status } from '../../src/serve/status.ts'
import { before, lagOf, madeStatus, restorableTo, storeDenied } from './made-status.ts'

const url = 'http://127.0.0.1:9868'

function draw(changes: Partial<Status>, canvas: Canvas = plainCanvas): string[] {
  return drawReceiver(url, madeStatus(changes), [], canvas)
}

/** The lines of one label, without it. */
function answer(label: string, changes: Partial<Status>): string {
  const lines = draw(changes)
  const from = lines.findIndex((line) => line.startsWith(label.padEnd(16)))
  const end = lines.findIndex((line, at) => at > from && !line.startsWith(' '))
  return lines
    .slice(from, end < 0 ? undefined : end)
    .map((line) => line.slice(16))
    .join('\n')
}

test('all on one screen of 80 columns and 24 lines while all is well', () => {
  const lines = draw({}, { columns: 80, hasColours: false, hasBars: true })
  assert.deepEqual(lines, [
    'Receiver        ready: streaming from db.example:5432',
    '                PostgreSQL 18.1, timeline 1, system 7574638451905423678',
    '                walferry 0.1.0 at http://127.0.0.1:9868, up 3 h 20 min',
    '',
    'Loss now        you would lose 0.8 s (1.0 MiB) if only the store were left',
    'Getting worse?  no: 24.0 MiB/s come in, 24.0 MiB/s are shipped',
    'Where it hangs  nowhere',
    'Restorable to   2026-11-21T11:59:59Z, 0.9 s ago; newest backup 3 h 5 min old',
    '',
    'Stage           position           behind      for          0 s             60 s',
    '  server        16/B374D848',
    '  received      16/B374D848        0 B         0 s          ░░░░░░░░░░░░░░░░░░░░',
    '  synced        16/B374D848        0 B         0 s          ░░░░░░░░░░░░░░░░░░░░',
    '  shipped       16/B364D848        1.0 MiB     0.8 s        █░░░░░░░░░░░░░░░░░░░',
    '',
    'Slot            walferry: reserved; keeps 32.0 MiB; 1.0 GiB more are safe',
    'Spool           16.0 MiB in 2 segments; disk 50 % full, 20.0 GiB free █████░░░░░',
    '                /var/lib/walferry/spool',
    'Store           last upload 0.4 s ago, 1 under way',
    '                s3://backups/db1',
    'Backup          newest 2026-11-21T08:55:00Z, 3 h 5 min ago; next in 20 h 0 min',
    '                schedule 0 3 * * *',
    'Gaps            none',
  ])
})

const failing: Partial<Status> = {
  reasons: [storeDenied, { code: 'NOT_STREAMING', message: 'the receiver is waiting' }],
  state: 'waiting',
  lossSeconds: 95,
  lag: lagOf(0, 0, 4 * 2 ** 30, 95),
  store: { url: 's3://backups/db1', uploadsInFlight: 4, problem: storeDenied, lastUploadAt: before(95) },
  gaps: [{ timeline: 1, from: '0/2A000000', to: '0/2C000000' }],
}

for (const columns of [40, 60, 80, 120]) {
  test(`no line is longer than ${columns} columns, and nothing is left out, with colours or without`, () => {
    for (const changes of [failing, { ...failing, server: null, positions: null, slot: null }]) {
      const canvas = { columns, hasColours: false, hasBars: true }
      const lines = draw(changes, canvas)
      // The table of stages needs 60.
      for (const line of lines.filter((one) => columns >= 60 || !/^(?: {2}\w|Stage +position)/.test(one))) {
        assert.ok(line.length <= columns, line)
      }
      const words = lines.join(' ').split(/\s+/).join('')
      for (const text of [storeDenied.message, storeDenied.hint ?? '', '0/2A000000 to 0/2C000000 (32.0 MiB)']) {
        assert.ok(words.includes(text.replaceAll(' ', '')), text)
      }
      const coloured = draw(changes, { ...canvas, hasColours: true })
      assert.deepEqual(coloured.map(stripVTControlCharacters), lines)
      assert.notDeepEqual(coloured, lines)
    }
  })
}

test('what needs a hand stands above the stages and what is well', () => {
  const labels = draw(failing).flatMap((line) => /^\w+/.exec(line)?.[0] ?? [])
  const expected = ['Receiver', 'Loss', 'Getting', 'Where', 'Restorable', 'Store', 'Gaps', 'Stage']
  assert.deepEqual(labels, [...expected, 'Slot', 'Spool', 'Backup'])
})

test('elsewhere than on a terminal there are neither colours nor bars, and a line is not broken', () => {
  const text = draw(failing).join('\n')
  assert.equal(stripVTControlCharacters(text), text)
  assert.doesNotMatch(text, /[█░]/)
  assert.ok(text.includes(`the store: ${storeDenied.message} [STORE_DENIED]\n`))
})

const toNone = { ...restorableTo(0.9), time: null, backup: null }
const cut = { ...restorableTo(7200), beforeGap: true, walTime: before(0.9) }
const losses: readonly (readonly [string, Partial<Status>, RegExp])[] = [
  [
    'nothing waits',
    { lossSeconds: 0, lag: lagOf(0, 0, 0, 0) },
    /^you would lose nothing: the store has all that was written$/,
  ],
  ['bytes that came just now', { lossSeconds: 0, lag: lagOf(0, 0, 800, 0) }, /^you would lose 0 s \(800 B\) if/],
  [
    'bytes of every stage',
    { lossSeconds: 200, lag: lagOf(2048, 1024, 1024, 200) },
    /^you would lose 3 min 20 s \(4\.0 KiB\) /,
  ],
  ['no server', { state: 'waiting', lossSeconds: 42, lag: lagOf(0, 0, 0, 0) }, /^you would lose up to 42 s: no server/],
  ['no server yet', { state: 'connecting', lossSeconds: null }, /^not known: no server has answered/],
  [
    'nothing waits, and there is no base backup',
    { lossSeconds: 0, lag: lagOf(0, 0, 0, 0), restorable: toNone },
    /^the store has all WAL, but no base backup leads there$/,
  ],
  [
    'bytes wait behind a gap',
    { restorable: cut },
    /^you would lose 0\.8 s .*\nand no base backup leads to the WAL that the store has$/,
  ],
]
for (const [name, changes, expected] of losses) {
  test(`how much would be lost: ${name}`, () => assert.match(answer('Loss now', changes), expected))
}

test('a receiver that waits for the slot takes its ignorance for no loss, and says whose figures count', () => {
  const waits = { code: 'SLOT_IN_USE', message: 'the slot "walferry" is in use', hint: 'It waits.' }
  const changes: Partial<Status> = { state: 'waiting', reasons: [waits], lossSeconds: 200 }
  assert.match(answer('Receiver', changes), /^WAITS FOR THE SLOT: waiting from /)
  assert.match(answer('Loss now', changes), /^not known here: another .* its figures count \(.* up to 3 min 20 s\)$/)
  assert.match(answer('Loss now', { ...changes, lossSeconds: null }), / its figures count$/)
  assert.match(answer('Getting worse?', changes), /^not known here: /)
  assert.match(answer('Receiver', { ...changes, reasons: [waits, storeDenied] }), /^NOT READY: /)
  // It streams again, and the reason is a moment old.
  assert.match(answer('Loss now', { ...changes, state: 'streaming' }), /^you would lose 3 min 20 s/)
})

const { backup, slot, spool, store } = madeStatus()
const noBackup = { ...backup, lastSuccessAt: null }
const restorables: readonly (readonly [string, Partial<Status>, RegExp])[] = [
  [
    'without a backup',
    { backup: noBackup, restorable: toNone },
    /^none: there is no base backup, and WAL alone restores nothing\nhint: walferry backup .*\nthe stored WAL reaches 2026-/,
  ],
  ['no backup with its WAL', { restorable: toNone }, /^none: no base backup has all the WAL that it needs, /],
  ['not known yet', { restorable: null }, /^not known yet; newest backup 3 h 5 min old$/],
  ['before anything is known', { restorable: null, backup: noBackup }, /^not known yet$/],
  [
    'a gap, acknowledged or not',
    { restorable: cut },
    /^2026-11-21T10:00:00Z, 2 h 0 min ago; newest backup .*\nnewer WAL lies behind a gap: .*\nfrom base_/,
  ],
  [
    'a line that was left',
    { restorable: { ...cut, beforeGap: false } },
    /^2026-11-21T10:00:00Z, 2 h 0 min ago; .*\nnewer WAL is stored, and no backup leads there/,
  ],
  ['a server whose clock is ahead', { restorable: restorableTo(-3) }, /^2026-11-21T12:00:03Z, 0 s ago; newest.* old$/],
]
for (const [name, changes, expected] of restorables) {
  test(`to which moment can be restored: ${name}`, () => assert.match(answer('Restorable to', changes), expected))
}

const details: readonly (readonly [string, string, Partial<Status>, RegExp])[] = [
  ['Receiver', 'before any server', { server: null, state: 'connecting' }, /^ready: connecting\nwalferry 0\.1\.0 at/],
  ['Slot', 'without a limit', { slot: { ...slot!, safeBytes: null } }, /; no limit$/],
  [
    'Slot',
    'at its limit',
    { slot: { ...slot!, walStatus: 'unreserved', safeBytes: -5 } },
    /^walferry: unreserved \(the server takes its WAL away/,
  ],
  [
    'Slot',
    'lost',
    { slot: { ...slot!, walStatus: 'lost', retainedBytes: null } },
    /^walferry: lost \(the server has taken its WAL away\)$/,
  ],
  ['Slot', 'of a server to come', { slot: { ...slot!, walStatus: 'asleep' } }, /^walferry: asleep; /],
  ['Slot', 'asked long ago', { slot: { ...slot!, askedAt: before(125) } }, /; as of 2 min 5 s ago$/],
  ['Slot', 'not asked', { slot: null }, /^not known/],
  [
    'Spool',
    'on a disk that cannot be asked',
    { spool: { ...spool, diskFreeBytes: null } },
    /^16\.0 MiB in 2 segments\n\/var/,
  ],
  ['Spool', 'one segment', { spool: { ...spool, segments: 1 } }, / in 1 segment; /],
  ['Spool', 'of which nothing waits', { spool: { ...spool, segments: 0 } }, /^16\.0 MiB, all of it shipped; disk/],
  ['Spool', 'empty', { spool: { ...spool, bytes: 0, segments: 0 } }, /^empty: all is shipped; disk/],
  [
    'Store',
    'failing',
    { store: { ...store, problem: storeDenied, lastUploadAt: null } },
    /^failing \[STORE_DENIED\]; last upload none yet/,
  ],
  ['Backup', 'failed', { backup: { ...backup, lastFailureAt: before(60) } }, /the last one FAILED 1 min 0 s ago/],
  ['Backup', 'failed before it was done', { backup: { ...backup, lastFailureAt: before(20_000) } }, /^newest [^F]*$/],
  [
    'Backup',
    'running',
    { backup: { ...noBackup, running: true, schedule: null } },
    /^none is known; one is being taken$/,
  ],
  ['Gaps', 'not known', { gaps: null }, /^not known/],
]
for (const [label, name, changes, expected] of details) {
  test(`${label}: ${name}`, () => assert.match(answer(label, changes), expected))
}

test('many gaps do not push all else off the screen', () => {
  const gaps = Array.from({ length: 9 }, (_, at) => ({ timeline: 1, from: `${at}/0`, to: `${at}/1000` }))
  assert.match(answer('Gaps', { gaps }), /^9 gaps .*\n(?:timeline 1, .*\n){3}and 6 more$/)
})
