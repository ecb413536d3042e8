import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { mapTablespaces, parseTablespaceMapping, placeTablespaces } from '../../src/restore/tablespaces.ts'

const data = '/srv/data'
const key = 'basebackups_005/base_000000010000000000000002_backup_stop_sentinel.json'
const one = { oid: '16385', location: '/mnt/one' }
const two = { oid: '16386', location: '/mnt/two' }

test('a mapping is two absolute paths, and a = of a path is written \\=', () => {
  const mapping = parseTablespaceMapping('/mnt/one=/new/one\n/mnt/t\\=wo/=/new/./a\\=b/\n')
  const expected = [
    ['/mnt/one', '/new/one'],
    ['/mnt/t=wo', '/new/a=b'],
  ]
  assert.deepEqual([...mapping], expected)
  assert.deepEqual([...parseTablespaceMapping('')], [])
})

for (const text of ['/mnt/one', '/a=/b=/c', 'a=/b', '/a=b', '=/b', '/a=', '/a=/b\\\\c', '/a=/b\n/a=/c']) {
  test(`${JSON.stringify(text)} is no mapping`, () => {
    assert.throws(
      () => parseTablespaceMapping(text),
      (error) => isError(error, 'BAD_INPUT'),
    )
  })
}

test('a tablespace goes to where it lay, or to where it is mapped', () => {
  const placed = placeTablespaces([one, { ...two, location: '/mnt/two/' }], new Map([['/mnt/two', '/new']]), data)
  assert.deepEqual(placed, [one, { oid: '16386', location: '/new' }])
})

const refusals: readonly (readonly [
  what: string,
  locations: readonly string[],
  mapping: [string, string][],
  said: RegExp,
])[] = [
  ['a mapping of what is not there', ['/mnt/one'], [['/mnt/x', '/new']], /no tablespace at \/mnt\/x/],
  ['a place in the data folder', ['/srv/data/pg_tblspc/x'], [], /lie in each other/],
  ['the data folder itself', ['/mnt/one'], [['/mnt/one', '/srv/data']], /lie in each other/],
  ['a place above the data folder', ['/srv'], [], /lie in each other/],
  ['one place for two', ['/mnt/one', '/mnt/two'], [['/mnt/two', '/mnt/one']], /lie in each other/],
  ['a place in another one', ['/mnt/one', '/mnt/one/two'], [], /lie in each other/],
  ['a relative place', ['pg_tblspc/16385'], [], /cannot be restored to "pg_tblspc\/16385"/],
  ['a place with a line break', ['/mnt/o\nne'], [], /cannot be restored/],
]

for (const [what, locations, mapping, said] of refusals) {
  test(`${what} is refused`, () => {
    const tablespaces = locations.map((location, n) => ({ oid: String(16_385 + n), location }))
    const place = (): unknown => placeTablespaces(tablespaces, new Map(mapping), data)
    assert.throws(place, (error: unknown) => isError(error, 'BAD_INPUT') && said.test(error.message))
  })
}

test('a neighbour whose name begins alike is no part of the folder', () => {
  assert.deepEqual(placeTablespaces([{ oid: '1', location: '/srv/data2' }], new Map(), data), [
    { oid: '1', location: '/srv/data2' },
  ])
})

test('tablespace_map says what the links say, and is the same text where nothing moves', () => {
  const text = '16385 /mnt/one\n16386 /mnt/two\n'
  const moved = { ...two, location: '/new/two' }
  assert.equal(mapTablespaces(key, text, [one, two], [one, two]), text)
  assert.equal(mapTablespaces(key, text, [one, two], [one, moved]), '16385 /mnt/one\n16386 /new/two\n')
  // As the server writes a place with a line break and a backslash in it.
  const odd = { oid: '16386', location: '/mnt/t\nw\\o' }
  assert.equal(mapTablespaces(key, '16386 /mnt/t\\\nw\\\\o\n', [odd], [moved]), '16386 /new/two\n')
  assert.equal(mapTablespaces(key, '', [], []), '')
})

test('a tablespace_map that says something else than the sentinel is refused', () => {
  for (const text of ['16387 /mnt/one\n', '16385 /etc\n', 'x\n']) {
    assert.throws(
      () => mapTablespaces(key, text, [one], [one]),
      (error) => isError(error, 'ARCHIVE_DAMAGED'),
      text,
    )
  }
})
