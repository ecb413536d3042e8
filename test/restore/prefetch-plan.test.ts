import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { nameAfter, newestRequest, planPrefetch, segmentsAhead } from '../../src/restore/prefetch-plan.ts'

const megabyte = 1024 * 1024
const limits = { segmentBytes: megabyte, segments: 4, parallel: 2 }

/** Segments of timeline 1, or another one, by their number. */
function names(segnos: readonly number[], timeline = 1): string[] {
  return segnos.map((segno) => `0000000${timeline}00000000000000${segno.toString(16).toUpperCase().padStart(2, '0')}`)
}

describe('what is fetched, and what is dropped,', () => {
  for (const { when, kept = [], other = [], underWay = [], without, fetch, drop = [] } of [
    { when: 'at the beginning', fetch: [11, 12] },
    { when: 'while some are under way', underWay: [11], fetch: [12] },
    { when: 'while as many are under way as may be', underWay: [11, 12], fetch: [] },
    { when: 'when one came before its predecessor', kept: [12], underWay: [11], fetch: [13] },
    { when: 'when all are there', kept: [11, 12, 13, 14], fetch: [] },
    { when: 'when the rest is under way', kept: [11, 12, 13], underWay: [14], fetch: [] },
    { when: 'after a jump ahead', kept: [8, 9, 11], fetch: [12, 13], drop: [8, 9] },
    { when: 'after a jump back', kept: [14, 15, 16], fetch: [11, 12], drop: [15, 16] },
    { when: 'while fetches for a former place take their room', kept: [11, 12], underWay: [40, 41], fetch: [] },
    { when: 'on another timeline', other: [11, 12], fetch: [11, 12], drop: [] },
    { when: 'at the end of the archive', kept: [11], without: 12, fetch: [] },
    { when: 'just before the end of the archive', without: 12, fetch: [11] },
    { when: 'when the next one is not there', without: 11, fetch: [] },
  ]) {
    test(when, () => {
      const plan = planPrefetch(
        {
          asked: names([10])[0] ?? '',
          kept: [...names(kept), ...names(other, 2)],
          underWay: names(underWay),
          without: without === undefined ? null : (names([without])[0] ?? ''),
        },
        limits,
      )
      assert.deepEqual(plan, { fetch: names(fetch), drop: [...names(drop), ...names(other, 2)] })
    })
  }
})

describe('the newest request', () => {
  const [ten = '', eleven = '', twelve = '', nine = ''] = names([10, 11, 12, 9])
  const [other = ''] = names([10], 2)
  for (const { what, told = null, gone = [], is } of [
    { what: 'stays without a sign', is: ten },
    { what: 'is the last file that was taken', gone: [twelve, eleven], is: twelve },
    { what: 'is what is told', told: twelve, is: twelve },
    { what: 'goes back when an earlier one is told', told: nine, is: nine },
    { what: 'is taken, when that is behind what is told', told: eleven, gone: [twelve], is: twelve },
    { what: 'is on the timeline that is told', told: other, gone: [twelve], is: other },
    { what: 'is nothing that is no segment', told: 'x', is: ten },
  ]) {
    test(what, () => assert.equal(newestRequest(ten, told, gone), is))
  }
})

test('the next name depends on the size of a segment', () => {
  assert.equal(nameAfter('0000000100000001000000FF', 16 * megabyte), '000000010000000200000000')
  assert.equal(nameAfter('0000000100000001000000FF', megabyte), '000000010000000100000100')
})

test('what is kept is bounded by number, by size, and by what the disk can spare', () => {
  const plenty = 1024 * 1024 * megabyte
  assert.equal(segmentsAhead(8, 16 * megabyte, plenty), 8)
  assert.equal(segmentsAhead(64, 64 * megabyte, plenty), 16)
  assert.equal(segmentsAhead(8, 1024 * megabyte, plenty), 1)
  assert.equal(segmentsAhead(8, 16 * megabyte, 256 * megabyte), 4)
  assert.equal(segmentsAhead(8, 16 * megabyte, 63 * megabyte), 0)
})
