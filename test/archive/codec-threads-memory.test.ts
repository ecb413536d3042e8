import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { CodecThreads } from '../../src/archive/codec-threads.ts'

const pieces = 8192
const bytesOfEach = 64 * 1024

// In a process of its own: what others leave behind would go meanwhile, and hide it.
test('what a source has read, each piece in new memory, does not gather while a thread decodes it', async () => {
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < pieces; i++) {
      // As what comes over a network does.
      if (i % 4 === 0) await setImmediate()
      yield new Uint8Array(bytesOfEach)
    }
  }
  let [bytes, most] = [0, 0]
  for await (const piece of new CodecThreads().decode('x', source(), { atMost: pieces * bytesOfEach }, null)) {
    bytes += piece.length
    most = Math.max(most, process.memoryUsage().arrayBuffers)
  }
  assert.equal(bytes, pieces * bytesOfEach)
  // The slots are 5 MiB, and 8 come before they are collected; the rest is for V8, which frees them beside.
  assert.ok(most < 28 * 1024 ** 2, `${most} bytes lay about`)
})
