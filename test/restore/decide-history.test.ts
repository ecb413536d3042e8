import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isError, type WalferryError } from '../../src/kit/errors.ts'
import { decideHistory, type HistorySeen } from '../../src/restore/decide-history.ts'

const nothing: HistorySeen = { timeline: 3, hasWal: false, newest: null, own: null, started: null }

const table: readonly { readonly seen: string; readonly change: Partial<HistorySeen>; readonly decision: string }[] = [
  { seen: 'nothing', change: {}, decision: 'absent' },
  { seen: 'WAL of the timeline', change: { hasWal: true }, decision: 'ARCHIVE_HOLE' },
  {
    seen: 'WAL of the timeline, and a newer one in pg_wal',
    change: { hasWal: true, own: 7 },
    decision: 'ARCHIVE_HOLE',
  },
  { seen: 'WAL of the timeline, on which the server starts', change: { hasWal: true, started: 3 }, decision: 'absent' },
  {
    seen: 'WAL of the timeline, where the server starts on another',
    change: { hasWal: true, started: 2 },
    decision: 'ARCHIVE_HOLE',
  },
  {
    seen: 'WAL of the timeline, on which the server starts, and a newer history file',
    change: { hasWal: true, started: 3, newest: 7 },
    decision: 'ARCHIVE_HOLE',
  },
  { seen: 'a newer history file', change: { newest: 7 }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a newer one, and an older one in pg_wal', change: { newest: 7, own: 2 }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a newer one, and this one in pg_wal', change: { newest: 7, own: 3 }, decision: 'absent' },
  { seen: 'a newer one, in pg_wal, too', change: { newest: 7, own: 7 }, decision: 'absent' },
  { seen: 'a newer one, and one between in pg_wal', change: { newest: 7, own: 5 }, decision: 'absent' },
  { seen: 'that of the first timeline', change: { timeline: 1, hasWal: true, newest: 7 }, decision: 'absent' },
]

describe('what is answered for a history file that the archive has not', () => {
  for (const { seen, change, decision } of table) {
    test(`${seen}: ${decision}`, () => {
      const error = outcome({ ...nothing, ...change })
      assert.equal(error === null ? 'absent' : error.code, decision)
    })
  }
})

test('a file that is on its way is worth another look, a number that was skipped is not', () => {
  assert.equal(outcome({ ...nothing, hasWal: true })?.retryable, true)
  const skipped = outcome({ ...nothing, newest: 0x1f })
  assert.equal(skipped?.retryable, false)
  assert.match(skipped?.message ?? '', /no 00000003\.history, but has 0000001F\.history/)
  assert.match(skipped?.hint ?? '', /recovery_target_timeline = '31'.*pg_wal\/0000001F\.history/)
})

function outcome(seen: HistorySeen): WalferryError | null {
  try {
    assert.equal(decideHistory(seen), 'absent')
    return null
  } catch (error) {
    if (isError(error)) return error
    throw error
  }
}
