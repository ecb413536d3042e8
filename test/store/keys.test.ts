import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { checkKey, checkPrefix, isKey } from '../../src/store/keys.ts'

test('a key is a path of plain names', () => {
  for (const key of [
    'a',
    'wal_005/00000001000000000000002A.lz4',
    'basebackups_005/base_000000010000000000000004/tar_partitions/part_001.tar.lz4',
    'walferry_001/tail/00000001-00000000-0000002a/00000000-00045000.lz4',
    '...',
    '..a/.b/c..',
    '.walferry-tmp2/a',
    'a/.walferry-tmp/b',
  ]) {
    assert.ok(isKey(key), key)
    checkKey(key)
  }
})

test('nothing else is a key', () => {
  for (const key of [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    '.',
    './a',
    'a/.',
    '..',
    '../a',
    'a/..',
    'a/../b',
    'a b',
    'a\n',
    'é',
  ]) {
    assert.ok(!isKey(key), key)
    assert.throws(
      () => checkKey(key),
      (error) => isError(error, 'BAD_INPUT'),
    )
  }
  for (const key of ['.walferry-tmp', '.walferry-tmp/a', 'a\\b', 'C:', 'a\0', 'a?b', 'a%2fb'])
    assert.ok(!isKey(key), key)
})

test('a prefix is the beginning of a key', () => {
  const key = '..a/b.c/-d'
  for (let length = 0; length <= key.length; length++) checkPrefix(key.slice(0, length))
  for (const prefix of ['/', '/a', 'a//', '../', 'a/../b', './', 'a b', 'a/\n']) {
    assert.throws(
      () => checkPrefix(prefix),
      (error) => isError(error, 'BAD_INPUT'),
      prefix,
    )
  }
})
