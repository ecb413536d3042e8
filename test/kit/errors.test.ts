import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describe, errorCodes, isError, systemCode, WalferryError } from '../../src/kit/errors.ts'

test('an error says the messages of its causes, in order', () => {
  const bottom = new Error('connect ECONNREFUSED 127.0.0.1:5432')
  const middle = new WalferryError('PG_CONNECTION_LOST', 'cannot connect to localhost:5432', { cause: bottom })
  const top = new Error('cannot start', { cause: middle })
  assert.equal(describe(top), 'cannot start: cannot connect to localhost:5432: connect ECONNREFUSED 127.0.0.1:5432')
})

test('a cause whose message is already told is not told twice', () => {
  const cause = new Error('the disk is full')
  assert.equal(describe(new Error('cannot write: the disk is full', { cause })), 'cannot write: the disk is full')
})

test('an error without a message is told by its code, or its name', () => {
  // What connecting to a name with two addresses gives, when both refuse.
  const both = Object.assign(new AggregateError([new Error('a'), new Error('b')], ''), { code: 'ECONNREFUSED' })
  assert.equal(describe(both), 'ECONNREFUSED')
  assert.equal(describe(new RangeError('')), 'RangeError')
  assert.equal(describe(new Error('cannot connect', { cause: both })), 'cannot connect: ECONNREFUSED')
})

test('a cause may be anything', () => {
  assert.equal(describe(new Error('top', { cause: 'a text' })), 'top: a text')
  assert.equal(describe(new Error('top', { cause: null })), 'top')
  assert.equal(describe('thrown as a text'), 'thrown as a text')
  assert.equal(describe(undefined), 'undefined')
})

test('an error carries its code, operands and hint, and is not retried unless it says so', () => {
  const plain = new WalferryError('BAD_INPUT', 'no')
  assert.deepEqual([plain.name, plain.hint, plain.fields, plain.retryable], ['WalferryError', undefined, {}, false])
  assert.equal('cause' in plain, false)
  const full = new WalferryError('STORE_FAILED', 'no', {
    hint: 'Do this.',
    fields: { key: 'k' },
    retryable: true,
    cause: 1,
  })
  assert.deepEqual([full.hint, full.fields, full.retryable, full.cause], ['Do this.', { key: 'k' }, true, 1])
})

test('isError looks at the class and the code, not at the text', () => {
  const error = new WalferryError('KEY_MISSING', 'no')
  assert.equal(isError(error), true)
  assert.equal(isError(error, 'KEY_EXISTS', 'KEY_MISSING'), true)
  assert.equal(isError(error, 'KEY_EXISTS'), false)
  assert.equal(isError(Object.assign(new Error('no'), { code: 'KEY_MISSING' })), false)
})

test('systemCode reads the code of a system error only', () => {
  assert.equal(systemCode(Object.assign(new Error('x'), { code: 'ENOENT' })), 'ENOENT')
  assert.equal(systemCode(Object.assign(new Error('x'), { code: 5 })), undefined)
  assert.equal(systemCode({ code: 'ENOENT' }), undefined)
  assert.equal(systemCode(new Error('x')), undefined)
})

test('the codes are in the order of the alphabet, each with its meaning', () => {
  const codes = Object.keys(errorCodes)
  assert.deepEqual(codes, codes.toSorted())
  for (const [code, meaning] of Object.entries(errorCodes)) {
    assert.match(code, /^[A-Z]+(?:_[A-Z]+)+$/)
    assert.ok(meaning.length > 10)
  }
})
