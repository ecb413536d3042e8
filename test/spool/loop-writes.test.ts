import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoopWrites } from '../../src/spool/loop-writes.ts'

test('a write that the disk holds up sends those of the next ten seconds to the thread pool', (t) => {
  let nowMs = 1000
  t.mock.method(performance, 'now', () => nowMs)
  const loopWrites = new LoopWrites()
  const tried = (ms: number): boolean => loopWrites.tried(() => void (nowMs += ms))
  assert.equal(loopWrites.areQuick(null), true)
  assert.equal(tried(19), true)
  assert.equal(loopWrites.areQuick(null), true)
  assert.equal(tried(20), false)
  assert.equal(loopWrites.areQuick(null), false)
  nowMs += 9999
  assert.equal(loopWrites.areQuick(null), false)
  nowMs += 1
  assert.equal(loopWrites.areQuick(null), true)
})

test('a sync that takes half a second sends writes to the thread pool for as long as it goes on', (t) => {
  let nowMs = 1000
  t.mock.method(performance, 'now', () => nowMs)
  const loopWrites = new LoopWrites()
  nowMs = 1499
  assert.equal(loopWrites.areQuick(1000), true)
  nowMs = 1500
  assert.equal(loopWrites.areQuick(1000), false)
  assert.equal(loopWrites.areQuick(1200), true)
  assert.equal(loopWrites.areQuick(null), true)
})
