import assert from 'node:assert/strict'
import { test } from 'node:test'
import { furthestEnd } from '../../src/receive/furthest.ts'
import type { TimelineHistory } from '../../src/wal/history.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import type { Place } from '../../src/wal/place.ts'

/** `timeline`, and where each ancestor was left: `2 1:0/500`. */
function lineOf(text: string): TimelineHistory {
  const [timeline, ...left] = text.split(' ')
  const ancestors = left.map((one) => {
    const [number, at = ''] = one.split(':')
    return { timeline: Number(number), switchPoint: parseLsn(at), reason: '' }
  })
  return { timeline: Number(timeline), ancestors }
}

/** `position@timeline`. */
function placeOf(text: string): Place {
  const [lsn = '', timeline] = text.split('@')
  return { timeline: Number(timeline), lsn: parseLsn(lsn) }
}

type Case = readonly [
  name: string,
  spool: string | null,
  archive: string | null,
  archiveLine: string | null,
  line: string,
  counts: 'spool' | 'archive' | 'archive-tail',
]

const cases: readonly Case[] = [
  ['nothing is anywhere', null, null, null, '1', 'spool'],
  ['the archive is empty', '0/400@1', null, null, '1', 'spool'],
  ['the spool is empty', null, '0/400@1', null, '1', 'archive-tail'],
  ['both are level', '0/400@1', '0/400@1', null, '1', 'spool'],
  ['the spool is further', '0/401@1', '0/400@1', null, '1', 'spool'],
  ['another receiver has shipped', '0/400@1', '0/401@1', null, '1', 'archive-tail'],
  ['another receiver has followed a promotion', '0/400@1', '0/600@2', '2 1:0/500', '2 1:0/500', 'archive-tail'],
  [
    'the same, and the server was promoted once more',
    '0/400@1',
    '0/600@2',
    '2 1:0/500',
    '3 1:0/500 2:0/700',
    'archive-tail',
  ],
  ['the server is the old primary', '0/400@1', '0/600@2', '2 1:0/500', '1', 'archive'],
  ['the same, and we had followed it', '0/550@1', '0/600@2', '2 1:0/500', '1', 'archive'],
  ['an empty spool, and a branch beside the server', null, '0/600@2', '2 1:0/500', '3 1:0/400', 'archive'],
  ['a branch that we have not turned away from', '0/500@1', '0/600@2', '2 1:0/500', '3 1:0/550', 'archive'],
  ['a branch that we have turned away from', '0/501@1', '0/600@2', '2 1:0/500', '3 1:0/550', 'spool'],
  ['the same, and the common line is behind us', '0/550@1', '0/600@2', '2 1:0/500', '3 1:0/550', 'spool'],
  ['both are beside the server', '0/551@1', '0/600@2', '2 1:0/500', '3 1:0/550', 'archive'],
  ['a branch whose history nobody has', '0/501@1', '0/600@2', null, '3 1:0/550', 'archive'],
]

for (const [name, spool, archive, archiveLine, line, counts] of cases) {
  test(`${name}: what counts is ${counts}`, () => {
    const end = furthestEnd({
      spool: spool === null ? null : placeOf(spool),
      archive:
        archive === null ? null : { place: placeOf(archive), line: archiveLine === null ? null : lineOf(archiveLine) },
      line: lineOf(line),
    })
    assert.equal(end, counts)
  })
}
