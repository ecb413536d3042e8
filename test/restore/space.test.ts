import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { type Need, needsOf, refuseNoSpace, shortages } from '../../src/restore/space.ts'
import { tempFolder } from '../support/temp.ts'

const disks = new Map([
  ['/data', { device: 1, freeBytes: 100 }],
  ['/one', { device: 1, freeBytes: 100 }],
  ['/two', { device: 2, freeBytes: 50 }],
])

const cases: readonly (readonly [what: string, needs: readonly Need[], missing: readonly number[]])[] = [
  ['all of a disk', [{ places: ['/data'], bytes: 100 }], []],
  ['one byte more', [{ places: ['/data'], bytes: 101 }], [1]],
  [
    'two places on one disk',
    [
      { places: ['/data'], bytes: 60 },
      { places: ['/one'], bytes: 60 },
    ],
    [20],
  ],
  [
    'two places on two disks',
    [
      { places: ['/data'], bytes: 100 },
      { places: ['/two'], bytes: 50 },
    ],
    [],
  ],
  [
    'too much for the second one',
    [
      { places: ['/data'], bytes: 1 },
      { places: ['/two'], bytes: 70 },
    ],
    [20],
  ],
  ['spread over two disks, nobody knows how', [{ places: ['/data', '/one', '/two'], bytes: 150 }], []],
  ['more than both have', [{ places: ['/data', '/one', '/two'], bytes: 160 }], [10]],
]

for (const [what, needs, missing] of cases) {
  test(`${what}: ${missing.join() || 'nothing'} is missing`, () => {
    const found = shortages(needs, disks).map(({ neededBytes, freeBytes }) => neededBytes - freeBytes)
    assert.deepEqual(found, missing)
  })
}

test('with a manifest it is known what each tablespace takes, in whole blocks', () => {
  const files = new Map([
    ['base/1', { bytes: 5000, checksum: null }],
    ['PG_VERSION', { bytes: 3, checksum: null }],
    ['pg_tblspc/16385/PG_15_1/5/1', { bytes: 4096, checksum: null }],
  ])
  const needs = needsOf('/data', [{ oid: '16385', location: '/one' }], { files, walRanges: [] }, 1)
  assert.deepEqual(needs, [
    { places: ['/data'], bytes: 12_288 },
    { places: ['/one'], bytes: 4096 },
  ])
})

test('a backup that is larger than the disk is refused with what is missing, also for a folder that is not there', async (t) => {
  const folder = await tempFolder(t)
  const needs = [{ places: [`${folder}/not/there`], bytes: Number.MAX_SAFE_INTEGER }]
  await assert.rejects(
    refuseNoSpace(needs),
    (error) => isError(error, 'BAD_INPUT') && / are missing/.test(error.message),
  )
  await refuseNoSpace([{ places: [`${folder}/not/there`], bytes: 1 }])
})
