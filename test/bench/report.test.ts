import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quantileOf, spreadOf } from './measure.ts'
import { reportOf, type Side, verdictOn } from './report.ts'

test('a goal is told as met, or by how much it was missed', () => {
  assert.equal(verdictOn({ figure: 'ratio', is: 'at least', limit: 2 }, 2.2), 'met (2.2)')
  assert.equal(verdictOn({ figure: 'ratio', is: 'at least', limit: 2 }, 1.5), 'missed by 25 % (1.5)')
  assert.equal(verdictOn({ figure: 'median', is: 'at most', limit: 10 }, 10), 'met (10)')
  assert.equal(verdictOn({ figure: 'median', is: 'at most', limit: 10 }, 33), 'missed by 230 % (33)')
  assert.equal(verdictOn({ figure: 'median', is: 'at most', limit: 0 }, 3), 'missed by 3 (3)')
  assert.equal(verdictOn({ figure: 'median', is: 'at most', limit: 1 }, NaN), 'not measured')
  assert.equal(verdictOn({ figure: 'ratio', is: 'at least', limit: 1 }, null), 'not measured')
})

test('a side is compared with the first one, with the one that it names, or with none', () => {
  const sides = [side('a', 2), side('b', 4), side('c', 6, 'b'), side('d', 6, null), side('e', 6, 'missing')]
  assert.deepEqual(
    reportOf(sides).map(({ ratio }) => ratio),
    [null, 2, 1.5, null, null],
  )
})

test('CPU time is told per run and per GB, memory by its peak', () => {
  const [told] = reportOf([
    { name: 'a', unit: 'MB/s', values: [1, 2], cpuSeconds: [1, 3], bytes: 4e9, peakMegabytes: [50, 70] },
  ])
  assert.deepEqual([told?.cpuSeconds, told?.cpuSecondsPerGigabyte, told?.peakMegabytes], [2, 0.5, 70])
})

test('what all of the machine did is told per GB, and how much of the time it had nothing to do', () => {
  const machine = [
    { busySeconds: 3, idleSeconds: 1 },
    { busySeconds: 5, idleSeconds: 1 },
  ]
  const [told] = reportOf([{ name: 'a', unit: 'MB/s', values: [1, 2], bytes: 4e9, machine }])
  assert.deepEqual([told?.machineCpuSecondsPerGigabyte, told?.idleRatio], [1, 0.2])
})

test('median and quantiles', () => {
  assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 })
  assert.deepEqual(spreadOf([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
  const values = Array.from({ length: 100 }, (_, i) => 100 - i)
  assert.equal(quantileOf(values, 0.99), 99)
  assert.equal(quantileOf(values, 0.5), 50)
})

function side(name: string, value: number, against?: string | null): Side {
  const common = { name, unit: 's', values: [value] }
  return against === undefined ? common : { ...common, against }
}
