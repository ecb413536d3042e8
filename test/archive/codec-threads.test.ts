import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { extensionOf, type WritableCodec } from '../../src/archive/codec-name.ts'
import { decode } from '../../src/archive/codec.ts'
import { nativeZstd } from '../../src/archive/codecs/zst-native.ts'
import { CodecTask } from '../../src/archive/codec-task.ts'
import { CodecThreads } from '../../src/archive/codec-threads.ts'
import type { FilePart } from '../../src/archive/codec-worker.ts'
import { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { Feeder } from '../../src/archive/feeder.ts'
import { version } from '../../src/kit/version.ts'
import { deferred } from '../support/deferred.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { collect, failingAfter, flipped, inPieces, inRandomPieces, likeWal } from './streams.ts'

const secret = new EncryptionKey(Buffer.alloc(32, 7))
const writable: readonly WritableCodec[] = nativeZstd() === null ? ['lz4', 'none'] : ['lz4', 'zst', 'none']

async function openFile(t: TestContext, content: Uint8Array): Promise<number> {
  const path = join(await tempFolder(t), 'file')
  writeFileSync(path, content)
  const fd = openSync(path, 'r')
  t.after(() => closeSync(fd))
  return fd
}

test('parts of files that a thread encodes, several at once, decode to the same bytes', async (t) => {
  const random = seededRandom(t)
  // Some hundred kilobytes of it cannot be compressed, so that a piece is larger than what is passed on at once.
  const plain = Buffer.concat([likeWal(3_000_001, random), random.bytes(900_000), likeWal(500_000, random)])
  const fd = await openFile(t, plain)
  for (const key of [null, secret]) {
    const threads = new CodecThreads()
    const encode = async (codec: WritableCodec, from: number, to: number): Promise<void> => {
      const encoded = await collect(threads.encode(codec, { fd, name: 'file', from, to }, key))
      const decoded = decode(`x${extensionOf(codec)}`, inPieces(encoded, 60_000), to - from, key)
      assert.ok((await collect(decoded)).equals(plain.subarray(from, to)), `${codec}, ${from} to ${to}`)
      assert.equal(decoded.checked, codec !== 'none' || key !== null)
    }
    const places = [0, 1, 262_144, 1_000_000, plain.length - 1, plain.length]
    await Promise.all(
      writable.flatMap((codec) => places.slice(1).map((to, i) => encode(codec, places[i % 3 === 0 ? 0 : i] ?? 0, to))),
    )
    await encode('lz4', 7, 7)
  }
})

test('what a thread meets when it reads comes over with its code, and the thread goes on', async (t) => {
  const threads = new CodecThreads()
  const fd = await openFile(t, Buffer.alloc(1000))
  const source = { fd, name: 'a file', from: 0, to: 1001 }
  await assert.rejects(collect(threads.encode('lz4', source, null)), {
    name: 'WalferryError',
    code: 'BAD_INPUT',
    message: 'a file ends before byte 1001',
    fields: { name: 'a file', wanted: 1001 },
  })
  await assert.rejects(collect(threads.encode('lz4', { ...source, fd: 1_000_000 }, null)), { code: 'EBADF' })
  assert.ok((await collect(threads.encode('lz4', { ...source, to: 1000 }, null))).length > 0)
})

test('an encoding that is given up leaves the others alone', async (t) => {
  const random = seededRandom(t)
  const plain = random.bytes(2_000_000)
  const source = { fd: await openFile(t, plain), name: 'file', from: 0, to: plain.length }
  const threads = new CodecThreads()
  const other = collect(threads.encode('none', source, null))
  for await (const piece of threads.encode('none', source, null)) {
    assert.ok(piece.length < plain.length, 'the rest was still to come')
    break
  }
  assert.ok((await other).equals(plain))
})

test('where nobody waits for an encoding any more, its file may be closed, and its number be given to another', async (t) => {
  const random = seededRandom(t)
  const plain = random.bytes(4_000_000)
  const whole = await openFile(t, plain)
  const path = join(await tempFolder(t), 'other')
  writeFileSync(path, random.bytes(4_000_000))
  const threads = new CodecThreads()
  for (let round = 0; round < 5; round++) {
    const fd = openSync(path, 'r')
    const source = { fd, name: 'other', from: 0, to: plain.length }
    const left = threads.encode('none', source, null)
    await left.next()
    // As an abort does: the one is under way, the other is not waited for.
    const ended = Promise.allSettled([left.next(), left.return()])
    closeSync(fd)
    // Now it is the number of a file that is read from its own place on.
    const taken = openSync(path, 'r')
    try {
      assert.equal(taken, fd)
      assert.ok((await collect(threads.encode('none', { ...source, fd: whole, name: 'whole' }, null))).equals(plain))
      assert.ok(readFileSync(taken).equals(readFileSync(path)), 'nothing was taken from it')
    } finally {
      await ended
      closeSync(taken)
    }
  }
})

test('pieces that are sent to a thread are encoded as they come, and decoded there to the same bytes', async (t) => {
  const random = seededRandom(t)
  // More than what is on its way at once, both ways; the last part cannot be compressed.
  const plain = Buffer.concat([likeWal(5_000_001, random), random.bytes(3_000_000)])
  const threads = new CodecThreads()
  for (const key of [null, secret]) {
    const through = async (codec: WritableCodec, bytes: Uint8Array): Promise<void> => {
      // Overwritten as soon as the next piece is asked for, as the sender may do.
      const memory = Buffer.alloc(70_001)
      const pieces = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of inRandomPieces(bytes, random)) {
          for (let at = 0; at < piece.length; at += memory.length) {
            const part = piece.subarray(at, at + memory.length)
            memory.set(part)
            yield memory.subarray(0, part.length)
          }
        }
      }
      const encoded = await collect(threads.encode(codec, pieces(), key))
      const name = `x${extensionOf(codec)}`
      assert.ok((await collect(decode(name, inPieces(encoded, 60_000), bytes.length, key))).equals(bytes), codec)
      const decoded = threads.decode(name, inRandomPieces(encoded, random), bytes.length, key)
      assert.ok((await collect(decoded)).equals(bytes), codec)
      assert.equal(decoded.checked, codec !== 'none' || key !== null)
    }
    const parts = [plain, plain.subarray(0, 1), plain.subarray(0, 0), plain.subarray(4_000_000)]
    await Promise.all(writable.flatMap((codec) => parts.map((part) => through(codec, part))))
  }
})

test('a thread decodes what others have compressed, whose decoders read ahead', async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(4_000_000, random)
  const threads = new CodecThreads()
  for (const [name, compressed] of [
    ['x.gz', gzipSync(plain)],
    ['x.br', brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ] as const) {
    const decoded = threads.decode(name, inPieces(compressed, 7000), plain.length, null)
    assert.ok((await collect(decoded)).equals(plain), name)
  }
})

test('what the source of a task fails with is thrown as it is, and the thread goes on', async (t) => {
  const random = seededRandom(t)
  const bytes = random.bytes(3_000_000)
  const threads = new CodecThreads()
  for (const some of [bytes, bytes.subarray(0, 10)]) {
    await assert.rejects(collect(threads.encode('lz4', failingAfter(some, 'the server is gone'), null)), {
      message: 'the server is gone',
    })
  }
  const object = await collect(threads.encode('lz4', inPieces(bytes, 1_000_000), null))
  const broken = failingAfter(object.subarray(0, 2_000_000), 'the store is gone')
  await assert.rejects(collect(threads.decode('x.lz4', broken, bytes.length, null)), { message: 'the store is gone' })
  assert.ok((await collect(threads.decode('x.lz4', inPieces(object, 9999), bytes.length, null))).equals(bytes))
})

test('damage that a thread finds has its code, and is not taken for the end', async (t) => {
  const random = seededRandom(t)
  const bytes = likeWal(3_000_000, random)
  const threads = new CodecThreads()
  const object = await collect(threads.encode('lz4', inPieces(bytes, 1_000_000), null))
  for (const wrong of [flipped(object, object.length - 1, 1), object.subarray(0, -5), new Uint8Array(0)]) {
    const plain = threads.decode('x.lz4', inPieces(wrong, 9999), bytes.length, null)
    await assert.rejects(collect(plain), { name: 'WalferryError', code: 'ARCHIVE_DAMAGED' })
    assert.throws(() => plain.checked, /was not read to its end/)
  }
})

test('objects are decoded side by side in a thread for each core, and what is encoded in two at most', async (t) => {
  const random = seededRandom(t)
  const bytes = likeWal(3_000_000, random)
  const { path, write } = await otherProgram(t)
  const begun = `${path}.begun`
  writeFileSync(begun, '')
  write(`import { appendFileSync } from 'node:fs'
    appendFileSync(${JSON.stringify(begun)}, '.')
    await import('${real}')`)
  const threads = new CodecThreads(path)
  const encode = async (): Promise<Buffer> => await collect(threads.encode('lz4', inPieces(bytes, 99_999), null))
  await encode()
  await encode()
  assert.equal(readFileSync(begun).length, 1)
  const encoded = await Promise.all([1, 2, 3].map(encode))
  assert.equal(readFileSync(begun).length, Math.min(2, availableParallelism()))
  const { promise: silence, resolve: goOn } = deferred()
  const [object = Buffer.alloc(0)] = encoded
  const count = availableParallelism() + 1
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield object.subarray(0, 1000)
    await silence
    yield object.subarray(1000)
  }
  const decoded = Array.from({ length: count }, () => collect(threads.decode('x.lz4', source(), bytes.length, null)))
  while (readFileSync(begun).length < count - 1) await setTimeout(5)
  goOn()
  for (const plain of await Promise.all(decoded)) assert.ok(plain.equals(bytes))
  assert.equal(readFileSync(begun).length, count - 1)
})

test('who gives a task up waits for no source, and its memory is another task’s only once nobody writes there', async (t) => {
  const random = seededRandom(t)
  const bytes = random.bytes(3_000_000)
  const threads = new CodecThreads()
  for (let round = 0; round < 5; round++) {
    const { promise: silence, resolve: goOn } = deferred()
    const stuck = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1_500_000)
      await silence
      yield Buffer.alloc(3_000_000)
    }
    for await (const piece of threads.encode('none', stuck(), null)) {
      assert.ok(piece.length > 0)
      break
    }
    const next = collect(threads.encode('none', inPieces(bytes, 100_000), null))
    goOn()
    assert.ok((await next).equals(bytes), 'nothing of the other came into it')
  }
})

test('a feeder that was stopped touches no memory any more, whether it waited for the source or for room', async () => {
  for (const [first, room] of [
    [15, 0],
    [25, 1],
    [25, 0],
  ] as const) {
    const { promise: more, resolve: goOn } = deferred()
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(first, 'x')
      await more
      yield Buffer.alloc(15, 'y')
    }
    const slots = [new SharedArrayBuffer(10), new SharedArrayBuffer(10)]
    const task = new CodecTask(1, () => undefined)
    const feeder = new Feeder(source(), slots, task)
    const inSlots = (): string => slots.map((slot) => Buffer.from(slot).toString('latin1')).join()
    await setImmediate()
    const before = inSlots()
    assert.equal(before, first === 15 ? 'xxxxxxxxxx,xxxxx\0\0\0\0\0' : 'xxxxxxxxxx,xxxxxxxxxx')
    for (const slot of slots) Buffer.from(slot).fill('z')
    for (let i = 0; i < room; i++) task.hear({ id: 1, taken: true })
    feeder.stop()
    goOn()
    await setImmediate()
    await setImmediate()
    assert.equal(inSlots(), 'zzzzzzzzzz,zzzzzzzzzz', `${first} bytes, room for ${room}`)
  }
})

/** A file with a thread's code, `content`, and something to encode. */
async function otherProgram(
  t: TestContext,
): Promise<{ path: string; write: (content: string) => void; source: FilePart }> {
  const path = join(await tempFolder(t), 'program.mjs')
  const write = (content: string): void =>
    writeFileSync(path, `import { parentPort as port } from 'node:worker_threads'\n${content}`)
  const fd = await openFile(t, Buffer.alloc(1000, 'x'))
  return { path, write, source: { fd, name: 'file', from: 0, to: 1000 } }
}

const built = new URL('../../src/archive/', import.meta.url).href
const real = `${built}codec-worker.js`

test('a thread that cannot be read is an error with a hint, and the next file tries again', async (t) => {
  const { path, write, source } = await otherProgram(t)
  const threads = new CodecThreads(path)
  await assert.rejects(collect(threads.encode('none', source, null)), {
    code: 'THREAD_FAILED',
    message: 'the thread that compresses and decompresses could not begin',
    hint: /Start it again/,
  })
  write(`await import('${real}')`)
  assert.equal((await collect(threads.encode('none', source, null))).toString(), 'x'.repeat(1000))
})

test('nothing is taken from a thread of another version', async (t) => {
  const { path, write, source } = await otherProgram(t)
  // It answers, too.
  write(`port.postMessage({ version: '0.0.0-other' })
    port.on('message', ({ id, ask }) => ask === 'fill' && port.postMessage({ id, bytes: 7, isLast: true }))`)
  await assert.rejects(collect(new CodecThreads(path).encode('none', source, null)), {
    code: 'THREAD_FAILED',
    message: `the thread that compresses and decompresses is walferry 0.0.0-other, and this is ${version()}`,
    hint: /Start it again/,
    retryable: false,
  })
})

test('what a thread had begun when it died is not asked of the next one', async (t) => {
  const { path, write, source } = await otherProgram(t)
  write(`port.postMessage({ version: '${version()}' })
    port.on('message', ({ id, ask }) => {
      if (ask !== 'fill') return
      port.postMessage({ id, bytes: 1, isLast: false })
      port.close()
    })`)
  const threads = new CodecThreads(path)
  const begun = threads.encode('none', source, null)
  assert.equal((await begun.next()).done, false)
  write(`await import('${real}')`)
  const ended = {
    code: 'THREAD_FAILED',
    message: 'the thread that compresses and decompresses has ended: with code 0',
    retryable: true,
  }
  await assert.rejects(begun.next(), ended)
  assert.equal((await collect(threads.encode('none', source, null))).toString(), 'x'.repeat(1000))
})

test('all archives encode in the same threads, which do not keep the process alive', async (t) => {
  const folder = await tempFolder(t)
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    `import { readdirSync } from 'node:fs'
    import { Archive } from '${built}archive.js'
    const threads = () => readdirSync('/proc/self/task').length
    await new Archive(null).warmUp('lz4')
    const before = threads()
    for (let i = 0; i < 5; i++) await new Archive(null).warmUp('lz4')
    process.stdout.write(String(threads() - before))`,
  )
  const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 60_000 })
  assert.equal(stdout, '0')
})
