import assert from 'node:assert/strict'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { extensionOf, type WritableCodec } from '../../src/archive/codec-name.ts'
import { decode } from '../../src/archive/codec.ts'
import { nativeZstd } from '../../src/archive/codecs/zst-native.ts'
import { EncodingThread } from '../../src/archive/encoding-thread.ts'
import { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { collect, inPieces, likeWal } from './streams.ts'

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
    const thread = new EncodingThread(key)
    const encode = async (codec: WritableCodec, from: number, to: number): Promise<void> => {
      const encoded = await collect(thread.encode({ codec, fd, name: 'file', from, to }))
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
  const thread = new EncodingThread(null)
  const fd = await openFile(t, Buffer.alloc(1000))
  const source = { codec: 'lz4', fd, name: 'a file', from: 0, to: 1001 } as const
  await assert.rejects(collect(thread.encode(source)), {
    name: 'WalferryError',
    code: 'BAD_INPUT',
    message: 'a file ends before byte 1001',
    fields: { name: 'a file', wanted: 1001 },
  })
  await assert.rejects(collect(thread.encode({ ...source, fd: 1_000_000 })), { code: 'EBADF' })
  assert.ok((await collect(thread.encode({ ...source, to: 1000 }))).length > 0)
})

test('an encoding that is given up leaves the others alone', async (t) => {
  const random = seededRandom(t)
  const plain = random.bytes(2_000_000)
  const source = { codec: 'none', fd: await openFile(t, plain), name: 'file', from: 0, to: plain.length } as const
  const thread = new EncodingThread(null)
  const other = collect(thread.encode(source))
  for await (const piece of thread.encode(source)) {
    assert.ok(piece.length < plain.length, 'the rest was still to come')
    break
  }
  assert.ok((await other).equals(plain))
})
