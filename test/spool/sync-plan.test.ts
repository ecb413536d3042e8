import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { dueOf, durableOf, type Unsynced } from '../../src/spool/sync-plan.ts'

const megabyte = 1024 * 1024
const writtenToOpen = 100

interface File {
  readonly written: number
  readonly isFull: boolean
}

/**
 * One letter for each file: W a whole segment, O the open one; S and P the same where all of it is synced; small letters
 * where a sync is under way. After a digit, so many bytes are synced.
 */
function filesOf(row: string, segmentMegabytes: number): Unsynced<File>[] {
  return [...row.matchAll(/(\d*)([WwSOoP])/g)].map(([, bytes = '', letter = '']) => {
    const isFull = 'WwS'.includes(letter)
    const written = isFull ? segmentMegabytes * megabyte : writtenToOpen
    const synced = 'SP'.includes(letter) ? written : Number(bytes)
    return { file: { written, isFull }, synced, isSyncing: 'wo'.includes(letter) }
  })
}

const dues: readonly (readonly [what: string, segmentMegabytes: number, row: string, due: readonly number[]])[] = [
  ['nothing, where there is none', 16, '', []],
  ['the open segment', 16, 'O', [0]],
  ['what came to the open one since its last sync', 16, '40O', [0]],
  ['nothing, where all is synced', 16, 'P', []],
  ['nothing twice', 16, 'o', []],
  ['a whole segment', 16, 'W', [0]],
  ['a whole one and the open one, beside each other', 4, 'WO', [0, 1]],
  ['the open one, while a whole one is synced', 4, 'wO', [1]],
  ['the next whole one, while another is synced', 16, 'wW', [1]],
  ['no whole one while its beginning is synced', 16, 'w40w', []],
  ['the last bytes of a whole one, and the open one beside them', 16, '16700000WO', [0, 1]],
  ['whole segments only, in a backlog', 16, 'WWO', [0, 1]],
  ['whole segments only, while they are synced', 16, 'wwO', []],
  ['the open one again, when the whole ones are synced', 16, 'SSO', [2]],
  ['the open one also behind seven small ones', 1, 'WWWWWWWO', [0, 1, 2, 3, 4, 5, 6, 7]],
  ['one large segment, and not the open one', 1024, 'WO', [0]],
]

const durables: readonly (readonly [what: string, row: string, durable: readonly number[], isLastWhole: boolean])[] = [
  ['nothing of none', '', [], false],
  ['nothing before the first sync has ended', 'wo', [], false],
  ['the synced beginning of the open segment', '40O', [40], false],
  ['no more than that while the rest is synced', '40o', [40], false],
  ['the synced beginning of one that is whole by now', '40w', [40], false],
  ['whole segments', 'SSO', [megabyte, megabyte], true],
  ['whole segments, and the beginning of the open one', 'S40O', [megabyte, 40], false],
  ['nothing behind one whose sync is under way', 'SwS40O', [megabyte], true],
  ['the beginning of one whose sync is under way, and nothing behind it', 'S40wS', [megabyte, 40], false],
]

describe('the syncer', () => {
  for (const [what, segmentMegabytes, row, due] of dues) {
    test(`begins to sync ${what}`, () => {
      const files = filesOf(row, segmentMegabytes)
      const found = dueOf(files).map((one) => files.indexOf(one))
      assert.deepEqual(found, due)
    })
  }

  for (const [what, row, durable, isLastWhole] of durables) {
    test(`tells ${what}`, () => {
      const files = filesOf(row, 1)
      const found = durableOf(files)
      assert.deepEqual(
        found,
        durable.map((bytes, n) => ({
          file: files[n]?.file,
          bytes,
          isWhole: n < durable.length - 1 || isLastWhole,
        })),
      )
    })
  }

  test('never leaves anything unsynced for good, whatever is there when nothing is under way', () => {
    for (const segmentMegabytes of [1, 16, 1024]) {
      for (let wholes = 0; wholes < 4 ** 5; wholes++) {
        const row = [0, 1, 2, 3, 4].map((n) => ['', 'S', 'W', '40W'][Math.floor(wholes / 4 ** n) % 4]).join('')
        for (const open of ['', 'O', '40O', 'P']) {
          const files = filesOf(row + open, segmentMegabytes)
          const due = dueOf(files)
          assert.equal(due.length > 0, /[WO]/.test(row + open), `${row}${open} of ${segmentMegabytes} MB`)
        }
      }
    }
  })
})
