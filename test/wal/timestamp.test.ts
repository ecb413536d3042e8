import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  asTimestamp,
  dateOf,
  formatForSetting,
  formatTimestamp,
  parseTimestamp,
  timestampOf,
} from '../../src/wal/timestamp.ts'

/** `SELECT extract(epoch from '...'::timestamptz - '2000-01-01Z') * 1000000` */
const known = [
  { text: '2000-01-01T00:00:00Z', microseconds: 0n },
  { text: '2000-01-01 00:00:00.000001+00', microseconds: 1n },
  { text: '2026-11-20T10:42:23.478944Z', microseconds: 848_486_543_478_944n },
  { text: '2026-11-20T11:42:23.478944+01:00', microseconds: 848_486_543_478_944n },
  { text: '2026-11-20 05:12:23,478944-0530', microseconds: 848_486_543_478_944n },
  { text: '2026-11-20T10:42Z', microseconds: 848_486_520_000_000n },
  { text: '1999-12-31T23:59:59.999999Z', microseconds: -1n },
]

for (const { text, microseconds } of known) {
  test(`${text} is ${microseconds} microseconds from 2000 on`, () => {
    assert.equal(parseTimestamp(text), microseconds)
    assert.equal(parseTimestamp(formatTimestamp(asTimestamp(microseconds))), microseconds)
  })
}

for (const text of [
  '2026-11-20T10:42:23',
  '2026-11-20',
  'yesterday',
  '2026-13-20T10:42:23Z',
  '2026-11-20T10:42:23.1234567Z',
]) {
  test(`"${text}" is refused`, () => {
    assert.throws(() => parseTimestamp(text), { code: 'BAD_INPUT' })
  })
}

test('a date has the milliseconds of a moment, before 2000 too', () => {
  assert.equal(dateOf(parseTimestamp('2026-11-20T10:42:23.478944Z')).toISOString(), '2026-11-20T10:42:23.478Z')
  assert.equal(dateOf(asTimestamp(-1)).toISOString(), '1999-12-31T23:59:59.999Z')
  assert.equal(timestampOf(new Date('2000-01-01T00:00:00.001Z')), 1000n)
})

test('a setting names no zone but by its offset', () => {
  assert.equal(formatForSetting(parseTimestamp('2026-11-20T10:42:23.5Z')), '2026-11-20 10:42:23.500000+00')
})
