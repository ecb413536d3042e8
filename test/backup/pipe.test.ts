import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Pipe } from '../../src/backup/pipe.ts'

const { signal } = new AbortController()

async function readAll(pipe: Pipe): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of pipe) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

test('what is written comes out in order, also what was written before anybody read', async () => {
  const pipe = new Pipe(1000)
  await pipe.write(Buffer.from('a'), signal)
  await pipe.write(Buffer.from('b'), signal)
  const reading = readAll(pipe)
  await setImmediate()
  await pipe.write(Buffer.from('c'), signal)
  pipe.end()
  assert.equal(await reading, 'abc')
})

test('a writer waits while the reader has more than there is room for', async () => {
  const pipe = new Pipe(10)
  let waits = true
  await pipe.write(Buffer.alloc(10), signal)
  const writing = pipe.write(Buffer.alloc(1), signal).then(() => (waits = false))
  await setImmediate()
  assert.ok(waits)
  const reading = readAll(pipe)
  await writing
  pipe.end()
  assert.equal((await reading).length, 11)
})

test('a failure reaches both ends, whichever waits', async () => {
  const failure = new Error('the store is full')
  const pipe = new Pipe(1)
  const writing = assert.rejects(pipe.write(Buffer.alloc(2), signal), failure)
  pipe.fail(failure)
  await writing
  await assert.rejects(pipe.write(Buffer.alloc(1), signal), failure)
  await assert.rejects(readAll(pipe), failure)

  const idle = new Pipe(1)
  const reading = assert.rejects(readAll(idle), failure)
  await setImmediate()
  idle.fail(failure)
  idle.fail(new Error('a second one'))
  await reading
})

test('a failure is seen by a reader who was busy with a piece when it came', async () => {
  const failure = new Error('the server found damaged pages')
  const pipe = new Pipe(10)
  await pipe.write(Buffer.from('a'), signal)
  const reader = pipe[Symbol.asyncIterator]()
  assert.equal((await reader.next()).done, false)
  pipe.fail(failure)
  await assert.rejects(Promise.race([reader.next(), setImmediate('it waits')]), failure)
})

test('an abort ends the wait of a writer', async () => {
  const pipe = new Pipe(1)
  const stop = new AbortController()
  const writing = assert.rejects(pipe.write(Buffer.alloc(2), stop.signal), /stopped/)
  stop.abort(new Error('stopped'))
  await writing
})
