import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chunksOf, type Part, PartBuffers, partsOf } from '../../src/store/body.ts'

const { signal } = new AbortController()

async function* cut(bytes: Uint8Array, at: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const [index, end] of [...at, bytes.length].entries()) {
    await Promise.resolve()
    yield bytes.subarray(at[index - 1] ?? 0, end)
  }
}

test('parts are full but for the last, however the bytes come', async () => {
  const partBytes = 4
  for (let length = 0; length <= 13; length++) {
    const bytes = Buffer.from(Array.from({ length }, (_, index) => index))
    for (let first = 0; first <= length; first++) {
      for (let second = first; second <= length; second++) {
        const parts: Part[] = []
        for await (const part of partsOf(cut(bytes, [first, second]), new PartBuffers(partBytes), signal)) {
          parts.push(part)
        }
        const context = `${length} bytes cut at ${first} and ${second}`
        assert.ok(Buffer.concat(parts.map((part) => part.bytes)).equals(bytes), context)
        assert.equal(parts.length, Math.max(1, Math.ceil(length / partBytes)), context)
        for (const [index, part] of parts.entries()) {
          assert.equal(part.last, index === parts.length - 1, context)
          if (!part.last) assert.equal(part.bytes.length, partBytes, context)
        }
      }
    }
  }
})

test('a part’s memory is used again once it is given back, and not before', async () => {
  const buffers = new PartBuffers(4)
  const memories = new Set<ArrayBufferLike>()
  for await (const { bytes } of partsOf(cut(Buffer.alloc(13), []), buffers, signal)) memories.add(bytes.buffer)
  assert.equal(memories.size, 4)
  const [first] = memories
  assert.ok(first !== undefined)
  buffers.give(new Uint8Array(first, 0, 1))
  for await (const { bytes } of partsOf(cut(Buffer.alloc(6), []), buffers, signal)) memories.add(bytes.buffer)
  assert.equal(memories.size, 5)
  assert.equal(buffers.take().length, 4)
})

test('a body that is not read to its end is closed before its reader goes on', async () => {
  const events: string[] = []
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      await Promise.resolve()
      yield Buffer.from('a')
    } finally {
      await new Promise(setImmediate)
      events.push('closed')
    }
  }
  for await (const _ of chunksOf(body(), signal)) break
  events.push('went on')
  assert.deepEqual(events, ['closed', 'went on'])
})

test('an abort ends the wait for a body that hangs', async () => {
  const stop = new AbortController()
  const reason = new Error('the second signal')
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a')
    stop.abort(reason)
    await new Promise(() => undefined)
  }
  await assert.rejects(
    async () => {
      for await (const chunk of chunksOf(body(), stop.signal)) assert.equal(chunk.length, 1)
    },
    (error) => error === reason,
  )
})
