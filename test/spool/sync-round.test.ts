import assert from 'node:assert/strict'
import { test } from 'node:test'
import { roundOf } from '../../src/spool/sync-round.ts'

const megabyte = 1024 * 1024

const rounds: readonly (readonly [
  what: string,
  segmentMegabytes: number,
  fullFiles: number,
  hasOpen: boolean,
  files: number,
])[] = [
  ['nothing', 16, 0, false, 0],
  ['the open segment', 16, 0, true, 1],
  ['the one that has just become whole, and the open one', 16, 1, true, 2],
  ['whole segments only, in a backlog', 16, 2, true, 2],
  ['whole segments only, where there is no other', 16, 2, false, 2],
  ['the open one also behind seven small ones', 1, 7, true, 8],
  ['one large segment, and not the open one', 1024, 1, true, 1],
]

for (const [what, segmentMegabytes, fullFiles, hasOpen, files] of rounds) {
  test(`a round of the syncer takes ${what}`, () => {
    const segmentBytes = segmentMegabytes * megabyte
    const full = Array.from({ length: fullFiles }, () => ({ written: segmentBytes, isFull: true }))
    const all = hasOpen ? [...full, { written: 5, isFull: false }] : full
    const expected = all.slice(0, files).map((file) => ({ file, written: file.written, full: file.isFull }))
    assert.deepEqual(roundOf(all, segmentBytes), expected)
  })
}
