import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { sha256InTurns } from '../../src/store/sha256-in-turns.ts'

const mebibyte = 1024 * 1024

test('a body has the SHA-256 that it has in one go, whatever its length', async () => {
  for (const length of [0, 1, mebibyte - 1, mebibyte, mebibyte + 1, 3 * mebibyte, 3 * mebibyte + 7]) {
    const bytes = randomBytes(length)
    assert.equal(await sha256InTurns(bytes), createHash('sha256').update(bytes).digest('hex'), `${length} bytes`)
  }
})

test('what else waits in the event loop has its turn while a large body is summed up', async () => {
  let turns = 0
  let isOver = false
  const other = (): void => {
    if (isOver) return
    turns++
    setImmediate(other)
  }
  setImmediate(other)
  await sha256InTurns(Buffer.alloc(16 * mebibyte))
  isOver = true
  assert.ok(turns >= 15, `${turns} turns`)
})
