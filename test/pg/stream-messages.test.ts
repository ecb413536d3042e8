import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { encodeStatus, StreamMessages, type WalListener } from '../../src/pg/stream-messages.ts'
import { asLsn, formatLsn, parseLsn } from '../../src/wal/lsn.ts'
import { seededRandom } from '../support/random.ts'

/** What a listener heard, the bytes of a message put together. */
class Heard implements WalListener {
  readonly told: string[] = []
  fragments = 0
  walBegins(start: bigint, serverFlush: bigint, sentAtMs: number): void {
    this.told.push(`w ${formatLsn(asLsn(start))} ${formatLsn(asLsn(serverFlush))} ${new Date(sentAtMs).toISOString()} `)
  }
  wal(bytes: Buffer): void {
    assert.ok(bytes.length > 0)
    this.fragments++
    this.told.push(`${this.told.pop()}${bytes.toString('hex')}`)
  }
  keepalive(position: bigint, sentAtMs: number, replyRequested: boolean): void {
    this.told.push(`k ${formatLsn(asLsn(position))} ${new Date(sentAtMs).toISOString()} ${replyRequested}`)
  }
  batchEnd(): void {
    this.told.push('batch')
  }
}

/** 2026-01-31T12:00:00.250Z in microseconds since 2000-01-01. */
const sentAt = BigInt(Date.UTC(2026, 0, 31, 12, 0, 0, 250) - Date.UTC(2000, 0, 1)) * 1000n

function xlogData(start: string, flush: string, wal: Buffer): Buffer {
  const head = Buffer.alloc(25)
  head.write('w')
  head.writeBigUInt64BE(parseLsn(start), 1)
  head.writeBigUInt64BE(parseLsn(flush), 9)
  head.writeBigInt64BE(sentAt, 17)
  return Buffer.concat([head, wal])
}

function keepalive(position: string, wantsReply: boolean): Buffer {
  const out = Buffer.alloc(18)
  out.write('k')
  out.writeBigUInt64BE(parseLsn(position), 1)
  out.writeBigInt64BE(sentAt, 9)
  out[17] = wantsReply ? 1 : 0
  return out
}

/** Hands one payload on in fragments that end at `cuts`. */
function send(messages: StreamMessages, payload: Buffer, ...cuts: readonly number[]): void {
  const ends = [...cuts, payload.length]
  for (const [i, end] of ends.entries()) {
    messages.copyData(payload.subarray(ends[i - 1] ?? 0, end), i === 0, i === ends.length - 1)
  }
}

const time = '2026-01-31T12:00:00.250Z'

test('XLogData is told with its positions, the time of sending, and its bytes', () => {
  const heard = new Heard()
  const messages = new StreamMessages(heard)
  send(messages, xlogData('16/B374D848', 'FFFFFFFF/FFFFFFFF', Buffer.from('cafe', 'hex')))
  messages.batchEnd()
  assert.deepEqual(heard.told, [`w 16/B374D848 FFFFFFFF/FFFFFFFF ${time} cafe`, 'batch'])
})

test('a keepalive is told with its position, and whether the server waits for an answer', () => {
  const heard = new Heard()
  const messages = new StreamMessages(heard)
  send(messages, keepalive('0/3000060', false))
  send(messages, keepalive('0/3000061', true))
  assert.deepEqual(heard.told, [`k 0/3000060 ${time} false`, `k 0/3000061 ${time} true`])
})

test('XLogData without bytes is told, and tells no bytes', () => {
  const heard = new Heard()
  send(new StreamMessages(heard), xlogData('0/1', '0/1', Buffer.alloc(0)))
  assert.deepEqual(heard.told, [`w 0/1 0/1 ${time} `])
})

test('any split of a message tells the same', (t) => {
  const random = seededRandom(t)
  const wal = random.bytes(40)
  const payloads = [xlogData('0/3000000', '0/4000000', wal), keepalive('0/3000028', true)]
  const whole = new Heard()
  for (const payload of payloads) send(new StreamMessages(whole), payload)
  for (const payload of payloads) {
    for (let a = 1; a < payload.length; a++) {
      for (let b = a + 1; b < payload.length; b++) {
        const heard = new Heard()
        // The same object for both: what one message leaves must not reach into the next.
        const messages = new StreamMessages(heard)
        send(messages, payloads[0] ?? payload, a % 60 || 1)
        send(messages, payload, a, b)
        assert.deepEqual(heard.told, [whole.told[0], whole.told[payloads.indexOf(payload)]], `cut at ${a} and ${b}`)
      }
    }
  }
})

test('the bytes of WAL are handed on as they come, not collected', () => {
  const heard = new Heard()
  send(new StreamMessages(heard), xlogData('0/1', '0/1', Buffer.alloc(100)), 30, 60, 90)
  assert.equal(heard.fragments, 4)
})

for (const [name, payload, cuts] of [
  ['an empty message', Buffer.alloc(0), []],
  ['XLogData that ends within its head', xlogData('0/1', '0/1', Buffer.alloc(0)).subarray(0, 24), [7]],
  ['a keepalive that ends too soon', keepalive('0/1', true).subarray(0, 17), []],
  ['a message of a type that nobody knows', Buffer.concat([Buffer.from('x'), Buffer.alloc(40)]), [1]],
] as const) {
  test(`${name} is refused`, () => {
    const heard = new Heard()
    assert.throws(
      () => send(new StreamMessages(heard), payload, ...cuts),
      (error) => isError(error, 'PG_PROTOCOL'),
    )
    assert.deepEqual(heard.told, [])
  })
}

test('a status update has the 34 bytes that the protocol says, and never an applied position', () => {
  const status = { written: parseLsn('16/B374D848'), flushed: parseLsn('16/B3000000'), wantReply: true }
  const nowMs = Date.UTC(2000, 0, 1) + 1.5
  assert.equal(
    encodeStatus(status, nowMs).toString('hex'),
    ['72', '00000016b374d848', '00000016b3000000', '0000000000000000', '00000000000005dc', '01'].join(''),
  )
  assert.equal(encodeStatus({ ...status, wantReply: false }, nowMs).at(-1), 0)
  assert.equal(encodeStatus(status, nowMs).length, 34)
})
