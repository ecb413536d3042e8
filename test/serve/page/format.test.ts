/** Numbers, axes and outlines of the page. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  agoText,
  bytesText,
  countText,
  durationText,
  minuteText,
  rateText,
  spoolText,
  timeText,
} from '../../../src/serve/page/format.ts'
import { bandPath, linePath } from '../../../src/serve/page/paths.ts'
import type { Column } from '../../../src/serve/samples.ts'
import { emptyStatus } from '../statuses.ts'
import { legendText } from '../../../src/serve/page/legend-text.ts'
import { timeTicks, valueTicks } from '../../../src/serve/page/ticks.ts'

test('sizes are told in the unit that fits, with three digits', () => {
  const sizes = [0, 1, 1023, 1024, 1536, 23_580_160, 1_073_741_823, 999 * 1024 ** 2, 2 ** 50]
  const told = ['0 B', '1 B', '1023 B', '1 KiB', '1.5 KiB', '22.5 MiB', '1 GiB', '999 MiB', '1 PiB']
  assert.deepEqual(sizes.map(bytesText), told)
  assert.equal(rateText(2_097_152), '2 MiB/s')
})

test('durations are told in two units at most', () => {
  const seconds = [0, 0.04, 0.8, 9.94, 9.96, 59.4, 59.6, 60, 754, 3599.9, 3600, 86_399, 93_784]
  const told = ['0 s', '0 s', '0.8 s', '9.9 s', '10 s', '59 s', '1 min', '1 min', '12 min 34 s', '1 h', '1 h']
  assert.deepEqual(seconds.map(durationText), [...told, '23 h 59 min', '1 d 2 h'])
})

test('what the spool holds is told with what of it waits', () => {
  assert.equal(spoolText({ bytes: 0, segments: 0 }), 'nothing: all is shipped')
  assert.equal(spoolText({ bytes: 2048, segments: 0 }), '2 KiB, all of it is shipped')
  assert.equal(spoolText({ bytes: 2048, segments: 1 }), '2 KiB, 1 segment to ship')
})

test('a legend tells the latest value, not the worst of the last column, and the greatest', () => {
  const column: Column = { min: [1, 0], max: [12, 9], last: [11, 9] }
  const empty: Column = { min: [null], max: [null], last: [null] }
  const status = { ...emptyStatus, lossSeconds: 0.8, rate: { receivedBytesPerSecond: 5, shippedBytesPerSecond: 7 } }
  assert.equal(legendText('loss', column, status, durationText), 'latest 0.8 s, at most 12 s')
  assert.equal(legendText('loss', column, { ...status, lossSeconds: 13 }, durationText), 'latest 13 s, at most 13 s')
  assert.equal(legendText('shipped', column, status, rateText), 'over the last minute 7 B/s, at most 12 B/s')
  assert.equal(legendText('loss', column, null, durationText), 'at most 12 s')
  assert.equal(legendText('loss', empty, { ...status, lossSeconds: null }, durationText), 'not known')
})

test('moments are UTC, and name the day where it is another one', () => {
  const at = Date.UTC(2026, 10, 21, 11, 10, 20)
  assert.equal(timeText(at, at + 1000), '11:10:20 UTC')
  assert.equal(timeText(at, at + 86_400_000), '2026-11-21 11:10:20 UTC')
  assert.equal(minuteText(at), '2026-11-21 11:10 UTC')
  assert.deepEqual(
    [at, at - 300, at + 5000, at - 61_000].map((one) => agoText(one, at)),
    ['just now', 'just now', 'just now', '1 min 1 s ago'],
  )
})

test('one is not many', () => {
  assert.deepEqual(
    [0, 1, 2].map((count) => countText(count, 'gap')),
    ['0 gaps', '1 gap', '2 gaps'],
  )
})

const axes: readonly (readonly [greatest: number, unit: 'seconds' | 'bytes', ticks: readonly number[]])[] = [
  [2, 'seconds', [0, 0.5, 1, 1.5, 2]],
  [9, 'seconds', [0, 5, 10]],
  [70, 'seconds', [0, 20, 40, 60, 80]],
  [400, 'seconds', [0, 120, 240, 360, 480]],
  [20_000, 'seconds', [0, 7200, 14_400, 21_600]],
  [1_000_000, 'seconds', [0, 259_200, 518_400, 777_600, 1_036_800]],
  [65_536, 'bytes', [0, 16_384, 32_768, 49_152, 65_536]],
  [5.5 * 1024 ** 2, 'bytes', [0, 2, 4, 6].map((count) => count * 1024 ** 2)],
]
for (const [greatest, unit, ticks] of axes) {
  test(`an axis up to ${greatest} ${unit} has round marks`, () => {
    assert.deepEqual(valueTicks(greatest, 4, unit), ticks)
  })
}

const hour = 3_600_000
const noon = Date.UTC(2026, 10, 21, 12)
const times: readonly (readonly [name: string, from: number, to: number, texts: readonly string[]])[] = [
  ['a minute', noon, noon + 60_000, ['12:00:00', '12:00:30', '12:01:00']],
  ['an hour that begins anywhere', noon + 123_456, noon + 123_456 + hour, ['12:15', '12:30', '12:45', '13:00']],
  ['a day', noon, noon + 24 * hour, ['12:00', '18:00', '00:00', '06:00', '12:00']],
  ['a fortnight', noon, noon + 14 * 24 * hour, ['Nov 26', 'Dec 3']],
  ['nothing', noon + 1, noon + 1, []],
]
for (const [name, from, to, texts] of times) {
  test(`an axis of time over ${name}`, () => {
    const ticks = timeTicks(from, to, 4)
    assert.deepEqual(
      ticks.map((tick) => tick.text),
      texts,
    )
    assert.ok(ticks.every(({ atMs }) => atMs >= from && atMs <= to))
  })
}

const same = (value: number): number => value

function column(last: readonly (number | null)[]): Column {
  return { min: last, max: last, last }
}

test('a line is broken where nothing is known, and one value alone is a dot', () => {
  assert.equal(linePath(column([1, 2, null, 4]), same, same), 'M0.0 1.0h0L1.0 2.0M3.0 4.0h0')
  assert.equal(linePath(column([null, null]), same, same), '')
})

test('a band goes up along the greatest and back along the least', () => {
  const band = { min: [0, 1, null, 3], max: [5, 6, null, 8], last: [2, 2, null, 3] }
  assert.equal(bandPath(band, same, same), 'M0.0 5.0L1.0 6.0L1.0 1.0L0.0 0.0ZM3.0 8.0L3.0 3.0Z')
})
