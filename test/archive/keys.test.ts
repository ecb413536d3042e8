import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  backlogKey,
  chunkKey,
  gapKey,
  historyKey,
  identityKey,
  oddPartialKey,
  parseBacklogKey,
  parseChunkKey,
  parseGapKey,
  parseWalKey,
  partialKey,
  segmentKey,
  segmentOfKey,
  tailFolder,
  tailPrefix,
} from '../../src/archive/keys.ts'
import { isKey } from '../../src/store/keys.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { seededRandom } from '../support/random.ts'

const segment = '00000001000000000000002A'

test('keys are those of the format', () => {
  assert.equal(segmentKey(segment, 'lz4'), 'wal_005/00000001000000000000002A.lz4')
  assert.equal(segmentKey(segment, 'none'), 'wal_005/00000001000000000000002A')
  assert.equal(historyKey(0x1f, 'zst'), 'wal_005/0000001F.history.zst')
  assert.equal(partialKey(segment, 'lz4'), 'wal_005/00000001000000000000002A.partial.lz4')
  assert.equal(tailFolder(segment), 'walferry_001/tail/00000001-00000000-0000002a/')
  assert.equal(
    chunkKey(segment, 0, 0x45000, 'lz4'),
    'walferry_001/tail/00000001-00000000-0000002a/00000000-00045000.lz4',
  )
  assert.equal(identityKey, 'walferry_001/identity.json')
  assert.equal(tailPrefix(0x1f), 'walferry_001/tail/0000001f-')
  assert.equal(
    gapKey({ timeline: 1, from: asLsn(0x2a000000n), to: asLsn(0x12c000000n) }),
    'walferry_001/gaps/00000001-000000002a000000-000000012c000000.json',
  )
  assert.equal(backlogKey('walferry_1'), 'walferry_001/backlog/walferry_1.json')
  assert.equal(
    oddPartialKey(segment, '0123456789ABCDEF', 'lz4'),
    'walferry_001/partial/00000001-00000000-0000002a-0123456789ab.lz4',
  )
})

test('what WAL-G puts below wal_005 is read, under every extension and with the dot that old releases left', () => {
  for (const [end, codec] of [
    ['.lz4', 'lz4'],
    ['.zst', 'zst'],
    ['.br', 'br'],
    ['.gz', 'gz'],
    ['.lzma', 'lzma'],
    ['', 'none'],
    ['.', 'none'],
  ] as const) {
    assert.deepEqual(parseWalKey(`wal_005/${segment}${end}`), { kind: 'segment', segment, codec })
    assert.deepEqual(parseWalKey(`wal_005/${segment}.partial${end}`), { kind: 'partial', segment, codec })
    assert.deepEqual(parseWalKey(`wal_005/${segment}.00000028.backup${end}`), { kind: 'backup', segment, codec })
    assert.deepEqual(parseWalKey(`wal_005/0000001F.history${end}`), { kind: 'history', timeline: 31, codec })
  }
})

test('foreign names are not taken for WAL', () => {
  for (const name of [
    '',
    'x',
    segment.slice(1),
    `${segment}0`,
    `${segment}0.lz4`,
    segment.toLowerCase(),
    `${segment}.txt`,
    `${segment}.lz4.tmp`,
    `${segment}..lz4`,
    `${segment}.partial.txt`,
    `${segment}.0000028.backup.lz4`,
    `${segment}/x.lz4`,
    '00000001.history.txt',
    '0000001f.history',
    'sub/00000001.history',
  ]) {
    assert.equal(parseWalKey(`wal_005/${name}`), null, name)
  }
  assert.equal(parseWalKey(`other/${segment}.lz4`), null)
  assert.equal(parseWalKey(`x/wal_005/${segment}.lz4`), null)
})

test('the segment that an object belongs to is told for any extension, and for chunks', () => {
  for (const name of ['', '.', '.lz4', '.lzo', '.partial.zst', '.00000028.backup', '.whatever']) {
    assert.equal(segmentOfKey(`wal_005/${segment}${name}`), segment, name)
  }
  assert.equal(segmentOfKey(chunkKey(segment, 0, 5, 'none')), segment)
  for (const key of ['wal_005/00000002.history', `wal_005/${segment}0`, `wal_005/x${segment}`, identityKey]) {
    assert.equal(segmentOfKey(key), null, key)
  }
})

test('chunk keys are read back, and foreign names in their folder are not', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 200; round++) {
    const name = random.bytes(12).toString('hex').toUpperCase()
    const start = random.below(2 ** 30)
    const end = random.below(2 ** 30 + 1)
    const codec = random.pick(['lz4', 'zst', 'none'] as const)
    const key = chunkKey(name, start, end, codec)
    assert.deepEqual(parseChunkKey(key), { key, segment: name, start, end, codec })
  }
  const folder = tailFolder(segment)
  for (const name of ['0-1.lz4', '00000000-0004500G.lz4', '00000000-00045000.txt', '00000000-00045000.', 'x/y']) {
    assert.equal(parseChunkKey(folder + name), null, name)
  }
})

test('gap and backlog keys are read back', () => {
  const gap = { timeline: 7, from: asLsn(0xffffffffffffffn), to: asLsn(0xfffffffffffffffen) }
  assert.deepEqual(parseGapKey(gapKey(gap)), gap)
  assert.equal(parseGapKey('walferry_001/gaps/x.json'), null)
  for (const slot of ['walferry', '_1_2', '0'.repeat(63), `a${'12345678'.repeat(4)}b`]) {
    assert.equal(parseBacklogKey(backlogKey(slot)), slot)
  }
  assert.equal(parseBacklogKey('walferry_001/backlog/x.txt'), null)
})

test('no key of our own has 24 upper-case hexadecimal digits in a row, which wal-g delete would take for a segment', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 500; round++) {
    // Digits only are the worst: lower case does not break such a run.
    const digits = Array.from({ length: 64 }, () => random.below(10)).join('')
    const name = digits.slice(0, 24)
    const gap = { timeline: 0x12345678, from: asLsn(BigInt(`0x${digits.slice(0, 16)}`)), to: asLsn(0x1n) }
    for (const key of [
      chunkKey(name, 0x12345678, 0x23456789, random.pick(['lz4', 'none'] as const)),
      gapKey(gap),
      backlogKey(digits.slice(0, 1 + random.below(63))),
      oddPartialKey(name, digits, 'lz4'),
    ]) {
      assert.doesNotMatch(key, /[0-9A-F]{24}/)
      assert.ok(isKey(key), key)
    }
  }
})
