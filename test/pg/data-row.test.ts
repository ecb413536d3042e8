import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { valuesOf } from '../../src/pg/data-row.ts'

/** A DataRow of two bytes that are no UTF-8, a null, and an empty value. */
const row = Buffer.from('44000000140003 00000002ffe9 ffffffff 00000000'.replaceAll(' ', ''), 'hex')

test('the values of a row are bytes, null, and nothing at all', () => {
  assert.deepEqual(valuesOf(row), [Buffer.from('ffe9', 'hex'), null, Buffer.alloc(0)])
  assert.deepEqual(valuesOf(Buffer.from('44000000060000', 'hex')), [])
})

test('a row that ends before or after its message is refused, wherever it is cut', () => {
  const wrong = [...Array.from({ length: row.length - 5 }, (_, n) => row.subarray(0, n + 5)), Buffer.concat([row, row])]
  for (const message of wrong)
    assert.throws(
      () => valuesOf(message),
      (error) => isError(error, 'PG_PROTOCOL'),
    )
})
