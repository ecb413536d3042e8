/** Which WAL of a hole in the archive is lost, for every place at which spool and stream may go on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HoleFacts, neverFilled } from '../../src/receive/never-filled.ts'
import type { SpoolSegment } from '../../src/spool/inventory.ts'
import { firstTimeline, type TimelineHistory } from '../../src/wal/history.ts'
import { asLsn, type Lsn } from '../../src/wal/lsn.ts'

const segmentBytes = 0x10_0000

/** In segments: 5.5 is the middle of the fifth. */
function at(segment: number): Lsn {
  return asLsn(segment * segmentBytes)
}

/** `5 6 7.5`: two whole segments, and half of the next. */
function segmentsOf(text: string, timeline = 1): SpoolSegment[] {
  return text.split(' ').flatMap((one) => {
    if (one === '') return []
    const segno = Math.floor(Number(one))
    const share = Number(one) - segno
    const syncedBytes = share === 0 ? segmentBytes : share * segmentBytes
    return [{ segment: { timeline, segno }, name: '', whole: share === 0, left: false, syncedBytes }]
  })
}

type Case = readonly [
  name: string,
  facts: {
    /** What the archive lacks: `from-end`. */
    readonly lacks: string
    readonly spool: string
    /** `segment@timeline`; null: the spool is empty. */
    readonly end: string | null
    readonly line?: TimelineHistory
    readonly backups?: readonly number[]
    readonly isElsewhere?: boolean
  },
  lost: string,
]

/** It left timeline 1 in the middle of segment 8. */
const second: TimelineHistory = {
  timeline: 2,
  ancestors: [{ timeline: 1, switchPoint: at(8.5), reason: '' }],
}

const cases: readonly Case[] = [
  ['the spool begins behind it', { lacks: '3-5', spool: '8 9.5', end: '9.5@1' }, '3-5'],
  ['the archive ends in a tail before it', { lacks: '3.25-5', spool: '8 9.5', end: '9.5@1' }, '3.25-5'],
  ['the spool begins in it', { lacks: '3-7', spool: '5 6 7.5', end: '7.5@1' }, '3-5'],
  ['the spool holds all of it', { lacks: '3-5', spool: '3 4 9.5', end: '9.5@1' }, ''],
  ['the spool holds its beginning', { lacks: '3.5-6', spool: '3 4 9.5', end: '9.5@1' }, '5-6'],
  ['the spool holds its middle', { lacks: '3-6', spool: '4 9.5', end: '9.5@1' }, '3-4 5-6'],
  ['there are several', { lacks: '3-4 6-7', spool: '9.5', end: '9.5@1' }, '3-4 6-7'],
  ['streaming begins before it', { lacks: '5-7', spool: '4.5', end: '4.5@1' }, ''],
  ['streaming begins in it', { lacks: '3-7', spool: '5.5', end: '5.5@1' }, '3-5'],
  ['the spool ends with a segment', { lacks: '3-7', spool: '4', end: '5@1' }, '3-4'],
  ['nothing of the open segment could be proved: it comes again', { lacks: '3-7', spool: '', end: '5.5@1' }, '3-5'],
  ['the spool is empty', { lacks: '3-5', spool: '', end: null }, ''],
  [
    'a base backup starts where the archive goes on',
    { lacks: '3-5 6-7', spool: '9.5', end: '9.5@1', backups: [5] },
    '6-7',
  ],
  ['a base backup starts elsewhere', { lacks: '3-5', spool: '9.5', end: '9.5@1', backups: [2, 6] }, '3-5'],
  ['another receiver holds WAL', { lacks: '3-5', spool: '8 9.5', end: '9.5@1', isElsewhere: true }, ''],
  ['the spool is on the next timeline', { lacks: '3-5', spool: '', end: '9.5@2', line: second }, '3-5'],
  ['the line left it in the hole', { lacks: '7-10', spool: '', end: '9.5@2', line: second }, '7-8'],
  ['the line left it before the hole', { lacks: '9-10', spool: '', end: '9.5@2', line: second }, ''],
  [
    'it is on a branch that was left',
    { lacks: '3-5', spool: '', end: '9.5@3', line: { ...second, ancestors: [] } },
    '',
  ],
]

for (const [name, { lacks, spool, end, line = firstTimeline, backups = [], isElsewhere = false }, lost] of cases) {
  test(`what the archive lacks, and is lost: ${name}`, () => {
    const [lsn, timeline] = (end ?? '').split('@').map(Number)
    const facts: HoleFacts = {
      timeline: 1,
      lacks: lacks.split(' ').map((run) => {
        const [from = 0, upTo = 0] = run.split('-').map(Number)
        return { from: at(from), end: at(upTo) }
      }),
      spool: {
        end: end === null ? null : { timeline: timeline ?? 0, lsn: at(lsn ?? 0) },
        segments: segmentsOf(spool),
      },
      line,
      segmentBytes,
      backupStarts: backups.map(at),
      isElsewhere,
    }
    const told = neverFilled(facts).map(({ from, to }) => `${Number(from) / segmentBytes}-${Number(to) / segmentBytes}`)
    assert.equal(told.join(' '), lost)
  })
}
