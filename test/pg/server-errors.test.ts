import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describe, type ErrorCode, WalferryError } from '../../src/kit/errors.ts'
import { serverError } from '../../src/pg/server-errors.ts'

/** An error as pg hands on what a server says. */
function fromServer(code: string, message: string): Error {
  return Object.assign(new Error(message), { severity: 'ERROR', code })
}

const removed = 'requested WAL segment 000000010000000000000003 has already been removed'
const table: readonly (readonly [state: string, message: string, code: ErrorCode, retryable: boolean])[] = [
  ['58P01', removed, 'WAL_REMOVED', false],
  ['XX000', removed, 'WAL_REMOVED', false],
  ['58P01', 'could not open file "pg_wal/00000002.history": No such file or directory', 'PG_REFUSED', false],
  ['55006', 'replication slot "walferry" is active for PID 4711', 'SLOT_IN_USE', true],
  ['55000', 'can no longer access replication slot "walferry"', 'PG_REFUSED', false],
  ['57P01', 'terminating connection due to administrator command', 'PG_CONNECTION_LOST', true],
  ['57P02', 'terminating connection because of crash of another server process', 'PG_CONNECTION_LOST', true],
  ['57P03', 'the database system is starting up', 'PG_CONNECTION_LOST', true],
  ['53300', 'sorry, too many clients already', 'PG_CONNECTION_LOST', true],
  ['28P01', 'password authentication failed for user "u"', 'PG_REFUSED', false],
  ['42601', 'syntax error', 'PG_REFUSED', false],
]

for (const [state, message, code, retryable] of table) {
  test(`${state} "${message}" is ${code}, and ${retryable ? 'mends itself' : 'needs somebody'}`, () => {
    const error = serverError(fromServer(state, message), 'do it')
    assert.equal(error.code, code)
    assert.equal(error.retryable, retryable)
    assert.equal(error.message, `cannot do it: ${message}`)
    assert.equal(error.fields['sqlstate'], state)
  })
}

test('an error of ours stays as it is', () => {
  const own = new WalferryError('BAD_INPUT', 'no')
  assert.equal(serverError(own, 'do it'), own)
})

test('a name with two addresses that both refuse is told by the code: the error that Node.js makes of them has no text', () => {
  const cause = Object.assign(new AggregateError([new Error('::1'), new Error('127.0.0.1')], ''), {
    code: 'ECONNREFUSED',
  })
  const error = serverError(cause, 'connect to localhost:5432')
  assert.equal(describe(error), 'cannot connect to localhost:5432: ECONNREFUSED')
  assert.equal(error.code, 'PG_CONNECTION_LOST')
  assert.match(error.hint ?? '', /running/)
})
