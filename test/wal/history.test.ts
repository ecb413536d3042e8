import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bytesBeforeFork,
  firstTimeline,
  forkOf,
  isAncestor,
  isOnLine,
  parseHistory,
  partingOf,
  switchPointOf,
  timelineAt,
} from '../../src/wal/history.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

// As PostgreSQL 18 has written it after two promotions: a blank line precedes each line but the first.
const third = '1\t0/3000000\tno recovery target specified\n\n2\t0/5A001B8\tbefore 2000-01-01 00:00:00+00\n'

test('a file of PostgreSQL is read, with its comments and blank lines', () => {
  const history = parseHistory(3, Buffer.from(`# a comment\n  \n${third}\n  # another 9\n`))
  assert.deepEqual(history, {
    timeline: 3,
    ancestors: [
      { timeline: 1, switchPoint: parseLsn('0/3000000'), reason: 'no recovery target specified' },
      { timeline: 2, switchPoint: parseLsn('0/5A001B8'), reason: 'before 2000-01-01 00:00:00+00' },
    ],
  })
})

test('a line may lack its reason, have leading spaces, end in CR LF, and be the last without a line end', () => {
  const history = parseHistory(9, '  1 \t 0/10\r\n4 1A/b0')
  assert.deepEqual(
    history.ancestors.map(({ timeline, reason }) => [timeline, reason]),
    [
      [1, ''],
      [4, ''],
    ],
  )
  assert.equal(switchPointOf(history, 4), parseLsn('1A/B0'))
})

test('of a segment, what lies before a fork is bytes only where the fork is in it', () => {
  const fork = parseLsn('0/5A001B8')
  assert.equal(bytesBeforeFork(fork, 5, 0x1000000), 0xa001b8)
  assert.equal(bytesBeforeFork(fork, 4, 0x1000000), 0)
  assert.equal(bytesBeforeFork(parseLsn('0/5000000'), 5, 0x1000000), 0)
  assert.equal(bytesBeforeFork(null, 5, 0x1000000), 0)
})

test('anything else is damage', () => {
  const damages: [number, string, RegExp][] = [
    [2, '', /names no parent/],
    [2, '# only a comment\n', /names no parent/],
    [2, '1\n', /is no line of one/],
    [2, 'one\t0/1\tx\n', /is no line of one/],
    [2, '1\t0\tx\n', /is no line of one/],
    [2, '1\t0/123456789\tx\n', /is no line of one/],
    [2, '99999999999\t0/1\tx\n', /is no line of one/],
    [3, '2\t0/1\tx\n1\t0/2\tx\n', /timeline 1 follows 2/],
    [3, '1\t0/1\tx\n1\t0/2\tx\n', /timeline 1 follows 1/],
    [3, '0\t0/1\tx\n', /timeline 0 follows 0/],
    [2, '2\t0/1\tx\n', /the parent, 2, is not an earlier timeline/],
    [2, third, /the parent, 2, is not an earlier timeline/],
    [2, '\0\0\0\0', /is no line of one/],
  ]
  for (const [timeline, text, message] of damages) {
    assert.throws(() => parseHistory(timeline, text), { code: 'ARCHIVE_DAMAGED', message }, JSON.stringify(text))
  }
})

test('the line: its ancestors, its fork, and who holds a position', () => {
  const history = parseHistory(3, third)
  assert.equal(isAncestor(history, 1), true)
  assert.equal(isAncestor(history, 3), false)
  assert.equal(isOnLine(history, 3), true)
  assert.equal(isOnLine(history, 4), false)
  assert.equal(switchPointOf(history, 1), parseLsn('0/3000000'))
  assert.equal(switchPointOf(history, 3), null)
  assert.equal(forkOf(history)?.timeline, 2)
  assert.equal(forkOf(firstTimeline), null)
  const holders = ['0/0', '0/2FFFFFF', '0/3000000', '0/5A001B7', '0/5A001B8', 'F/0'].map((at) =>
    timelineAt(history, parseLsn(at)),
  )
  assert.deepEqual(holders, [1, 1, 2, 2, 3, 3])
  assert.equal(timelineAt(firstTimeline, parseLsn('F/0')), 1)
})

test('a timeline of which nothing was used holds no position', () => {
  // A recovery along timeline 2 that ended before 2 began.
  const history = parseHistory(3, '1\t0/5000000\tx\n2\t0/3000000\ty\n')
  const holders = ['0/2FFFFFF', '0/3000000', '0/4000000', '0/6000000'].map((at) => timelineAt(history, parseLsn(at)))
  assert.deepEqual(holders, [1, 3, 3, 3])
})

test('where two lines part', () => {
  const at = parseLsn
  const two = parseHistory(2, '1\t0/3000000\tx\n')
  const three = parseHistory(3, third)
  const other = parseHistory(4, '1\t0/2000000\tx\n')
  const twin = parseHistory(4, '1\t0/3000000\tx\n')
  const otherTwo = parseHistory(3, '1\t0/2800000\tx\n2\t0/5A001B8\ty\n')
  const cases: [typeof two, typeof two, number | null, bigint | null][] = [
    [two, two, 2, null],
    [firstTimeline, firstTimeline, 1, null],
    [firstTimeline, two, 1, at('0/3000000')],
    [two, three, 2, at('0/5A001B8')],
    [two, other, 1, at('0/2000000')],
    [three, other, 1, at('0/2000000')],
    [two, twin, 1, at('0/3000000')],
    [three, otherTwo, 1, at('0/2800000')],
    [parseHistory(5, '4\t0/1\tx\n'), two, null, 0n],
  ]
  for (const [a, b, timeline, where] of cases) {
    assert.deepEqual(partingOf(a, b), { timeline, at: where })
    assert.deepEqual(partingOf(b, a), { timeline, at: where })
  }
})
