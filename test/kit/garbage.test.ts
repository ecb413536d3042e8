import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '../../src/kit/abort.ts'
import { garbageCollector } from '../../src/kit/garbage.ts'

const count = 32
const bytesOfEach = 1024 * 1024

test('memory behind young objects is freed when nobody uses it any more, and not before', async () => {
  const collect = garbageCollector('minor')
  const before = process.memoryUsage().arrayBuffers
  const kept = made()
  collect()
  // Of what was there before, something may have gone.
  assert.ok(process.memoryUsage().arrayBuffers > before + (count - 1) * bytesOfEach, 'memory in use was freed')
  assert.equal(kept.at(-1)?.at(-1), 7)
  kept.length = 0
  collect()
  // V8 frees it in a thread beside.
  const signal = AbortSignal.timeout(10_000)
  while (process.memoryUsage().arrayBuffers >= before + bytesOfEach) await sleep(1, signal)
})

function made(): Buffer[] {
  return Array.from({ length: count }, () => Buffer.alloc(bytesOfEach, 7))
}
