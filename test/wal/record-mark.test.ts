/** The ends of transactions and the restore points, read out of records; and that the walk tells of each record once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { markBytes, readMark, type RecordMark } from '../../src/wal/record-mark.ts'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { asTimestamp } from '../../src/wal/timestamp.ts'
import { seededRandom } from '../support/random.ts'
import { WalWriter } from './wal-writer.ts'

const at = asLsn(0x1000n)
const end = asLsn(0x1100n)

/** A record's beginning: header with xid 7, then `data`. */
function record(manager: number, info: number, data: Buffer): Uint8Array {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(24 + data.length, 0)
  header.writeUInt32LE(7, 4)
  header.writeUInt8(info, 16)
  header.writeUInt8(manager, 17)
  return Buffer.concat([header, data])
}

function time(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes
}

const short = (data: Buffer): Buffer => Buffer.concat([Buffer.from([255, data.length]), data])
const long = (data: Buffer): Buffer => Buffer.concat([Buffer.from([254, data.length, 0, 0, 0]), data])
const origin = Buffer.from([253, 1, 0])
const topLevel = Buffer.from([252, 9, 0, 0, 0])
const name = Buffer.alloc(64)
name.write('before the move')
const longest = Buffer.alloc(64, 'x')
longest[63] = 0

const marks: readonly {
  readonly what: string
  readonly bytes: Uint8Array
  readonly mark: Partial<RecordMark> | null
}[] = [
  {
    what: 'a commit',
    bytes: record(1, 0x00, short(time(5n))),
    mark: { kind: 'commit', xid: 7, time: asTimestamp(5n) },
  },
  {
    what: 'a commit with more in it',
    bytes: record(1, 0x80, long(Buffer.concat([time(5n), Buffer.alloc(60)]))),
    mark: { kind: 'commit' },
  },
  {
    what: 'a replicated commit in a subtransaction',
    bytes: record(1, 0x80, Buffer.concat([origin, topLevel, short(time(6n))])),
    mark: { kind: 'commit', xid: 7, time: asTimestamp(6n) },
  },
  {
    what: 'an abort',
    bytes: record(1, 0x20, short(time(-1n))),
    mark: { kind: 'abort', xid: 7, time: asTimestamp(-1n) },
  },
  {
    what: 'the commit of a prepared transaction',
    bytes: record(1, 0xb0, short(time(5n))),
    mark: { kind: 'commit', xid: null },
  },
  {
    what: 'the abort of a prepared transaction',
    bytes: record(1, 0xc0, short(time(5n))),
    mark: { kind: 'abort', xid: null },
  },
  {
    what: 'a restore point',
    bytes: record(0, 0x70, short(Buffer.concat([time(8n), name]))),
    mark: { kind: 'restore-point', name: 'before the move', time: asTimestamp(8n) },
  },
  {
    what: 'the longest name',
    bytes: record(0, 0x70, Buffer.concat([origin, topLevel, short(Buffer.concat([time(8n), longest]))])),
    mark: { kind: 'restore-point', name: 'x'.repeat(63) },
  },
  { what: 'PREPARE TRANSACTION', bytes: record(1, 0x10, short(time(5n))), mark: null },
  { what: 'an assignment of subtransactions', bytes: record(1, 0x50, short(time(5n))), mark: null },
  { what: 'a checkpoint', bytes: record(0, 0x10, short(Buffer.alloc(80))), mark: null },
  { what: 'a commit that is cut', bytes: record(1, 0x00, short(time(5n))).subarray(0, 33), mark: null },
  { what: 'a commit without data', bytes: record(1, 0x00, Buffer.alloc(0)), mark: null },
]

for (const { what, bytes, mark } of marks) {
  test(`${what} is ${mark === null ? 'no mark' : `told as ${mark.kind}`}`, () => {
    const found = readMark(bytes.subarray(0, markBytes), at, end)
    if (mark === null || found === null) assert.equal(found, mark)
    else assert.deepEqual(found, { ...found, ...mark, at, end })
  })
}

test('the walk tells of each record once, however it is fed and cut by pages', (t) => {
  const random = seededRandom(t)
  const segmentBytes = 1024 * 1024
  const start = parseLsn('1/FFF00000')
  const writer = new WalWriter({ start, segmentBytes })
  const written: { readonly at: Lsn; readonly data: Buffer }[] = []
  for (let n = 0; n < 600; n++) {
    const data = Buffer.alloc(random.below(random.pick([20, 200, 9000])), n)
    written.push({ at: writer.record(data, { resourceManager: 1 }), data })
  }
  for (let round = 0; round < 5; round++) {
    const told: { at: Lsn; end: Lsn; head: Buffer }[] = []
    const walker = new RecordWalker({
      start,
      segmentBytes,
      timeline: 1,
      onRecord: (one) => told.push({ at: one.at, end: one.end, head: Buffer.from(one.head) }),
    })
    const bytes = writer.bytes()
    for (let from = 0; from < bytes.length; ) {
      const to = from + 1 + random.below(round === 0 ? bytes.length : random.pick([9, 100, 20_000]))
      walker.push(bytes.subarray(from, to))
      from = to
    }
    assert.deepEqual(
      told.map((one) => one.at),
      written.map((one) => one.at),
    )
    assert.equal(told.at(-1)?.end, walker.validEnd)
    for (const [n, { head }] of told.entries()) {
      const { data } = written[n] ?? { data: Buffer.alloc(0) }
      assert.ok(head.length >= Math.min(24 + data.length, markBytes), `record ${n}`)
      assert.ok(head.subarray(24).equals(data.subarray(0, head.length - 24)), `record ${n}`)
    }
  }
})
