import assert from 'node:assert/strict'
import { test } from 'node:test'
import { slotFrom } from '../../src/daemon/slot-watch.ts'
import type { SqlRow } from '../../src/pg/sql-client.ts'

const askedAt = new Date(0)

const rows: readonly (readonly [name: string, row: SqlRow | undefined, expected: unknown])[] = [
  [
    'without a limit',
    { wal_status: 'reserved', safe_wal_size: null, retained: '4096' },
    { walStatus: 'reserved', safeBytes: Infinity, retainedBytes: 4096, askedAt },
  ],
  [
    'with a limit',
    { wal_status: 'extended', safe_wal_size: '1048576', retained: '67108864' },
    { walStatus: 'extended', safeBytes: 1_048_576, retainedBytes: 67_108_864, askedAt },
  ],
  [
    'past its limit',
    { wal_status: 'unreserved', safe_wal_size: '-2097152', retained: '67108864' },
    { walStatus: 'unreserved', safeBytes: 0, retainedBytes: 67_108_864, askedAt },
  ],
  [
    'that is lost',
    { wal_status: 'lost', safe_wal_size: null, retained: null },
    { walStatus: 'lost', safeBytes: 0, retainedBytes: 0, askedAt },
  ],
  [
    'of a standby, ahead of what that has replayed',
    { wal_status: 'reserved', safe_wal_size: null, retained: '-8' },
    { walStatus: 'reserved', safeBytes: Infinity, retainedBytes: 0, askedAt },
  ],
  ['that is missing', undefined, { walStatus: 'missing', safeBytes: 0, retainedBytes: 0, askedAt }],
  ['that never kept anything', { wal_status: null, safe_wal_size: null, retained: null }, null],
]

for (const [name, row, expected] of rows) {
  test(`a slot ${name} is told as it is`, () => {
    assert.deepEqual(slotFrom(row, askedAt), expected)
  })
}
