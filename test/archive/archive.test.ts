import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { fileAt, memoryAt, piecesOf } from '../../src/archive/bytes-at.ts'
import { encode } from '../../src/archive/codec.ts'
import { chunkKey, segmentKey, tailFolder } from '../../src/archive/keys.ts'
import type { Chunk } from '../../src/archive/tail.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { collect, flipped, likeWal } from './streams.ts'

const { signal } = new AbortController()
const segment = '00000001000000000000002A'
const segmentBytes = 1024 * 1024

/** An archive in memory, and the bytes of the segment whose chunks are put into it. */
function setUp(plain: Buffer): {
  store: MemoryStore
  archive: Archive
  put: (start: number, end: number, codec?: 'lz4' | 'none') => Promise<string>
  read: () => Promise<{ result: Awaited<ReturnType<Archive['readTail']>>; bytes: Buffer }>
} {
  const store = new MemoryStore()
  const archive = new Archive(store)
  return {
    store,
    archive,
    async put(start, end, codec = 'lz4') {
      const key = chunkKey(segment, start, end, codec)
      store.set(key, await collect(encode(codec, piecesOf(memoryAt(plain), start, end))))
      return key
    },
    async read() {
      const bytes = Buffer.alloc(segmentBytes, 0xee)
      const result = await archive.readTail(segment, segmentBytes, memoryAt(bytes), { signal })
      return { result, bytes }
    },
  }
}

test('a segment is found under whatever extension it has, the likeliest first', async () => {
  const store = new MemoryStore()
  const archive = new Archive(store)
  assert.deepEqual(await archive.findSegment(segment, { signal }), [])
  assert.equal(store.calls.findAmong, 1)
  assert.equal(store.calls.list, 0)
  for (const end of ['.zst', '.', '', '.lz4', '.partial.lz4', '.00000028.backup.lz4']) {
    store.set(`wal_005/${segment}${end}`, Buffer.from(end))
  }
  const found = await archive.findSegment(segment, { signal })
  assert.deepEqual(
    found.map(({ key, bytes }) => [key, bytes]),
    [
      [`wal_005/${segment}.lz4`, 4],
      [`wal_005/${segment}.zst`, 4],
      [`wal_005/${segment}`, 0],
      [`wal_005/${segment}.`, 1],
    ],
  )
  assert.deepEqual(
    (await archive.findContent(`wal_005/${segment}.partial`, { signal })).map(({ key }) => key),
    [`wal_005/${segment}.partial.lz4`],
  )
})

test('a history file is found and read', async () => {
  const store = new MemoryStore()
  const archive = new Archive(store)
  const text = Buffer.from('1\t0/60001F8\tno recovery target specified\n')
  store.set('wal_005/0000001F.history.lz4', await collect(encode('lz4', piecesOf(memoryAt(text), 0, text.length))))
  const [found] = await archive.findHistory(31, { signal })
  assert.equal(found?.key, 'wal_005/0000001F.history.lz4')
  assert.deepEqual(await archive.readSmall(found.key, 1000, { signal }), text)
  await assert.rejects(archive.readSmall(found.key, 10, { signal }), { code: 'ARCHIVE_DAMAGED' })
  assert.deepEqual(await archive.findHistory(32, { signal }), [])
})

test('an object that is not there, and one that cannot be read, are told before anything is read', async () => {
  const store = new MemoryStore()
  const archive = new Archive(store)
  await assert.rejects(archive.readObject('wal_005/x.lz4', 1, { signal }), { code: 'KEY_MISSING' })
  store.set('wal_005/x.lzma')
  await assert.rejects(archive.readObject('wal_005/x.lzma', 1, { signal }), { code: 'BAD_INPUT' })
  assert.equal(store.calls.get, 1)
})

test('content is compared by its plain bytes', async (t) => {
  const random = seededRandom(t)
  const store = new MemoryStore()
  const archive = new Archive(store)
  const plain = likeWal(300_000, random)
  const key = segmentKey(segment, 'lz4')
  store.set(key, await collect(encode('lz4', piecesOf(memoryAt(plain), 0, plain.length))))
  const same = (other: Buffer): Promise<boolean> => archive.sameContent(key, memoryAt(other), other.length, { signal })
  assert.equal(await same(plain), true)
  assert.equal(await same(flipped(plain, random.below(plain.length), 1)), false)
  assert.equal(await same(plain.subarray(0, -1)), false)
  assert.equal(await same(Buffer.concat([plain, Buffer.alloc(1)])), false)
  assert.equal(await same(Buffer.alloc(0)), false)
})

test('a damaged object is told as damaged, not as other content', async (t) => {
  const random = seededRandom(t)
  const store = new MemoryStore()
  const archive = new Archive(store)
  const plain = random.bytes(5000)
  const key = segmentKey(segment, 'lz4')
  const encoded = await collect(encode('lz4', piecesOf(memoryAt(plain), 0, plain.length)))
  store.set(key, flipped(encoded, 100, 0xff))
  await assert.rejects(archive.sameContent(key, memoryAt(plain), plain.length, { signal }), { code: 'ARCHIVE_DAMAGED' })
})

test('a tail is put together from its chunks', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read } = setUp(plain)
  for (let at = 0; at < 200_000; at += 10_000) await put(at, at + 10_000)
  const { result, bytes } = await read()
  assert.deepEqual(result, { found: 'tail', bytes: 200_000, checked: true, unreachable: [] })
  assert.ok(bytes.subarray(0, 200_000).equals(plain.subarray(0, 200_000)))
  assert.ok(bytes.subarray(200_000).every((byte) => byte === 0xee))
})

test('no chunk is a tail of 0 bytes', async () => {
  const { read } = setUp(Buffer.alloc(segmentBytes))
  const { result } = await read()
  assert.deepEqual(result, { found: 'tail', bytes: 0, checked: true, unreachable: [] })
})

test('any chunks of one segment give the same bytes, however they overlap', async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(segmentBytes, random)
  for (let round = 0; round < 30; round++) {
    const { put, read, store } = setUp(plain)
    store.pieceBytes = 1 + random.below(5000)
    let end = 0
    for (let chunks = 1 + random.below(12); chunks > 0; chunks--) {
      const start = Math.max(0, end - random.below(random.pick([1, 3000])))
      const next = Math.max(start, end - random.below(2000)) + 1 + random.below(20_000)
      await put(start, next, random.pick(['lz4', 'none'] as const))
      end = Math.max(end, next)
    }
    const { result, bytes } = await read()
    assert.ok(result.found === 'tail')
    assert.equal(result.bytes, end)
    assert.ok(bytes.subarray(0, end).equals(plain.subarray(0, end)))
    assert.ok(bytes.subarray(end).every((byte) => byte === 0xee))
  }
})

test('a tail is written into a file, in the places where it belongs', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, archive } = setUp(plain)
  await put(0, 70_000)
  await put(60_000, 150_000)
  await put(0, 30_000)
  const path = join(await tempFolder(t), 'tail')
  const file = await open(path, 'w+')
  try {
    const result = await archive.readTail(segment, segmentBytes, fileAt(file, path), { signal })
    assert.ok(result.found === 'tail' && result.bytes === 150_000)
  } finally {
    await file.close()
  }
  assert.ok((await readFile(path)).equals(plain.subarray(0, 150_000)))
})

test('chunks behind a hole are named and not read', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read, store } = setUp(plain)
  await put(0, 1000)
  const far = await put(2000, 3000)
  const { result } = await read()
  assert.ok(result.found === 'tail')
  assert.equal(result.bytes, 1000)
  assert.deepEqual(
    result.unreachable.map((chunk) => chunk.key),
    [far],
  )
  assert.equal(store.calls.get, 1)
})

test('whether checksums covered all of a tail is told', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read } = setUp(plain)
  await put(0, 1000)
  await put(1000, 2000, 'none')
  const { result } = await read()
  assert.ok(result.found === 'tail')
  assert.equal(result.checked, false)
})

test('chunks that overlap with other bytes are a conflict, also where one covers the other', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const other = flipped(plain, 1500, 1)
  for (const [start, end] of [
    [1000, 3000],
    [1400, 1600],
    [0, 1501],
    [1500, 1501],
  ] as const) {
    const { put, read, store } = setUp(plain)
    await put(0, 2000)
    await put(2000, 2500)
    const key = chunkKey(segment, start, end, 'none')
    store.set(key, other.subarray(start, end))
    await assert.rejects(read(), { code: 'ARCHIVE_CONFLICT', hint: /Keep all chunks/ }, `${start} to ${end}`)
  }
})

test('a chunk that is not as long as its name says, or damaged, is damage', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read, store } = setUp(plain)
  const key = await put(0, 2000)
  const good = store.peek(key)
  for (const bytes of [plain.subarray(0, 1999), plain.subarray(0, 2001)]) {
    store.set(key, await collect(encode('lz4', piecesOf(memoryAt(bytes), 0, bytes.length))))
    await assert.rejects(read(), { code: 'ARCHIVE_DAMAGED', message: new RegExp(key) })
  }
  // Its checksum: elsewhere another distance may lead to the same bytes.
  store.set(key, flipped(good, good.length - 1, 1))
  await assert.rejects(read(), { code: 'ARCHIVE_DAMAGED' })
})

test('a name that is no chunk among the chunks is damage, not overlooked', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read, store } = setUp(plain)
  await put(0, 2000)
  store.set(`${tailFolder(segment)}00000000-00000fff.xz`)
  await assert.rejects(read(), { code: 'ARCHIVE_DAMAGED', message: /00000fff\.xz/ })
})

/** Names of segments, some beside each other and some not. */
function someSegments(random: Random): string[] {
  const name = (): string =>
    `0000000${1 + random.below(2)}00000000000000${random.pick(['0', '2', 'F'])}${random.below(16).toString(16).toUpperCase()}`
  return [...new Set(Array.from({ length: 30 }, name))]
}

test('chunks of several segments are listed at once, and those of others are passed over', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 100; round++) {
    const store = new MemoryStore()
    const archive = new Archive(store)
    const names = someSegments(random)
    const asked = names.filter(() => random.below(2) === 0)
    for (const name of names) {
      for (let n = random.below(3); n > 0; n--) store.set(chunkKey(name, n * 100, n * 100 + 100, 'lz4'))
      if (!asked.includes(name)) store.set(`${tailFolder(name)}foreign`)
      // Neither is in its folder.
      store.set(`${tailFolder(name).slice(0, -1)}.foreign`)
      store.set(`${tailFolder(name).slice(0, -1)}-1/00000000-00000fff.lz4`)
    }
    const expected = new Map<string, Chunk[]>()
    for (const name of asked) expected.set(name, await archive.listChunks(name, { signal }))
    store.calls.list = 0
    assert.deepEqual(await archive.listChunksOf(asked, { signal }), expected)
    assert.equal(store.calls.list, new Set(asked.map((name) => name.slice(0, -1))).size)
  }
})

test('a name that is no chunk among the chunks of one of several segments is damage', async () => {
  const store = new MemoryStore()
  const others = ['000000010000000000000029', '00000001000000000000002B']
  store.set(`${tailFolder(segment)}foreign`)
  await assert.rejects(new Archive(store).listChunksOf([...others, segment], { signal }), { code: 'ARCHIVE_DAMAGED' })
  assert.deepEqual([...(await new Archive(store).listChunksOf(others, { signal })).values()], [[], []])
})

test('several segments are found at once, under whatever extension, and others are not', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 100; round++) {
    const store = new MemoryStore()
    const archive = new Archive(store)
    const names = someSegments(random)
    for (const name of names) {
      for (const end of ['', '.', '.lz4', '.br']) if (random.below(4) === 0) store.set(`wal_005/${name}${end}`)
      store.set(`wal_005/${name}.partial.lz4`)
      store.set(`wal_005/${name}.00000028.backup.lz4`)
    }
    const asked = names.filter(() => random.below(2) === 0)
    const expected = new Map<string, string[]>()
    for (const name of asked) {
      expected.set(
        name,
        (await archive.findSegment(name, { signal })).map(({ key }) => key),
      )
    }
    store.calls.findAmong = 0
    const found = await archive.findSegments(asked, { signal })
    assert.deepEqual(new Map([...found].map(([name, infos]) => [name, infos.map(({ key }) => key)])), expected)
    assert.equal(store.calls.findAmong, new Set(asked.map((name) => name.slice(0, -1))).size)
  }
})

test('a merge between listing and reading loses nothing', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read, store } = setUp(plain)
  const old = [await put(0, 1000), await put(1000, 2000), await put(2000, 3000)]
  let merged = false
  store.before = async (operation, key) => {
    if (operation !== 'get' || key !== old[1] || merged) return
    merged = true
    await put(0, 3000)
    for (const one of old) store.delete(one)
  }
  const { result, bytes } = await read()
  assert.ok(merged)
  assert.ok(result.found === 'tail')
  assert.equal(result.bytes, 3000)
  assert.ok(bytes.subarray(0, 3000).equals(plain.subarray(0, 3000)))
})

test('where the segment became whole while its chunks are deleted, the whole one is named, not a shorter tail', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  // Deleted before the listing, or only when a chunk is opened.
  for (const moment of ['list', 'get'] as const) {
    const { put, read, store } = setUp(plain)
    await put(0, 1000)
    const second = await put(1000, 2000)
    store.before = (operation) => {
      if (operation !== moment) return
      store.set(segmentKey(segment, 'lz4'), Buffer.from('whole'))
      store.delete(second)
    }
    const { result } = await read()
    assert.ok(result.found === 'whole', moment)
    assert.deepEqual(
      result.objects.map((info) => info.key),
      [segmentKey(segment, 'lz4')],
    )
  }
})

test('a chunk that stays listed and never opens ends in damage, and never in "missing"', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, read, store } = setUp(plain)
  const first = await put(0, 1000)
  const bytes = store.peek(first)
  store.before = (operation) => {
    if (operation === 'get') store.delete(first)
    if (operation === 'list') store.set(first, bytes)
  }
  await assert.rejects(read(), { code: 'ARCHIVE_DAMAGED', message: /walferry_001\/tail/ })
})

test('an abort ends the reading of a tail with its reason', async (t) => {
  const plain = likeWal(segmentBytes, seededRandom(t))
  const { put, archive, store } = setUp(plain)
  for (let at = 0; at < 10; at++) await put(at * 1000, at * 1000 + 1000)
  const abort = new AbortController()
  store.before = (operation) => {
    if (operation === 'get' && store.calls.get === 5) abort.abort(new Error('enough'))
  }
  const into = memoryAt(Buffer.alloc(segmentBytes))
  await assert.rejects(archive.readTail(segment, segmentBytes, into, { signal: abort.signal }), { message: 'enough' })
})

test('bytes at a position: a file that is too short is told, with its name', async (t) => {
  const path = join(await tempFolder(t), 'short')
  const file = await open(path, 'w+')
  try {
    const bytes = fileAt(file, path)
    await bytes.write(randomBytes(100), 50)
    await bytes.read(Buffer.alloc(150), 0)
    await assert.rejects(bytes.read(Buffer.alloc(100), 51), {
      code: 'BAD_INPUT',
      message: /short ends before byte 151/,
    })
    await assert.rejects(collect(piecesOf(bytes, 0, 151)), { code: 'BAD_INPUT' })
  } finally {
    await file.close()
  }
  await assert.rejects(memoryAt(Buffer.alloc(10)).read(Buffer.alloc(5), 6), { code: 'BAD_INPUT' })
})
