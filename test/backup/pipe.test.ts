import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Pipe } from '../../src/backup/pipe.ts'

const { signal } = new AbortController()

async function readAll(pipe: Pipe): Promise<string> {
  const pieces: string[] = []
  for await (const piece of pipe) pieces.push(Buffer.from(piece).toString())
  return pieces.join()
}

test('what is written comes out in order, also what was written before anybody read', async () => {
  const pipe = new Pipe()
  const first = pipe.write(Buffer.from('a'), signal)
  await setImmediate()
  const reading = readAll(pipe)
  await first
  await pipe.write(Buffer.from('b'), signal)
  pipe.end()
  assert.equal(await reading, 'a,b')
})

test('a writer waits until the reader is done with its piece, which it may then overwrite', async () => {
  const pipe = new Pipe()
  const piece = Buffer.from('a')
  let waits = true
  const writing = pipe.write(piece, signal).then(() => (waits = false))
  const reader = pipe[Symbol.asyncIterator]()
  assert.equal((await reader.next()).value, piece)
  await setImmediate()
  assert.ok(waits, 'the reader has it still')
  const next = reader.next()
  await writing
  pipe.end()
  assert.equal((await next).done, true)
})

test('a failure reaches both ends, whichever waits', async () => {
  const failure = new Error('the store is full')
  const pipe = new Pipe()
  const writing = assert.rejects(pipe.write(Buffer.alloc(2), signal), failure)
  pipe.fail(failure)
  await writing
  await assert.rejects(pipe.write(Buffer.alloc(1), signal), failure)
  await assert.rejects(readAll(pipe), failure)

  const idle = new Pipe()
  const reading = assert.rejects(readAll(idle), failure)
  await setImmediate()
  idle.fail(failure)
  idle.fail(new Error('a second one'))
  await reading
})

test('a failure is seen by a reader who was busy with a piece when it came', async () => {
  const failure = new Error('the server found damaged pages')
  const pipe = new Pipe()
  const writing = assert.rejects(pipe.write(Buffer.from('a'), signal), failure)
  const reader = pipe[Symbol.asyncIterator]()
  assert.equal((await reader.next()).done, false)
  pipe.fail(failure)
  await assert.rejects(Promise.race([reader.next(), setImmediate('it waits')]), failure)
  await writing
})

test('an abort ends the wait of a writer', async () => {
  const pipe = new Pipe()
  const stop = new AbortController()
  const writing = assert.rejects(pipe.write(Buffer.alloc(2), stop.signal), /stopped/)
  stop.abort(new Error('stopped'))
  await writing
})
