import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, errorCodes, WalferryError } from '../../src/kit/errors.ts'
import { absentCode, exitCodeOf } from '../../src/restore/exit-codes.ts'

const special: Partial<Record<ErrorCode, number>> = {
  ARCHIVE_HOLE: 200,
  ARCHIVE_DAMAGED: 201,
  ARCHIVE_CONFLICT: 202,
  ARCHIVE_FOREIGN: 203,
  ARCHIVE_LOST_BRANCH: 200,
  ARCHIVE_BACKLOG: 204,
  ENCRYPTION_KEY: 205,
}

test('every error stops the server: its code is from 126 to 255', () => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a literal
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    assert.equal(exitCodeOf(new WalferryError(code, 'text')), special[code] ?? 126, code)
    assert.equal(exitCodeOf(new WalferryError(code, 'text', { retryable: true })), special[code] ?? 126, code)
  }
})

test('what is no error of ours is 126', () => {
  for (const error of [new Error('text'), new TypeError('text'), null, undefined, 'text', { code: 'ARCHIVE_HOLE' }]) {
    assert.equal(exitCodeOf(error), 126)
  }
})

test('"absent" is a code that neither Node.js (1 to 13) nor a shell (126 and above) uses', () => {
  assert.ok(absentCode > 13 && absentCode < 126)
})
