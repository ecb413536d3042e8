/** A page of a listing is read to the same objects whoever reads it: we, or the SDK where it is written in another way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ObjectInfo } from '../../src/store/object-store.ts'
import { takeObjects } from '../../src/store/s3-listing.ts'
import { keysOf } from '../contract/object-store.ts'
import { failure, idle, on, s3Setting } from './s3-setting.ts'

const time = '2026-01-31T12:00:00.000Z'
const object = `<Contents><Key>prefix/a</Key><LastModified>${time}</LastModified><ETag>&quot;1&quot;</ETag><Size>3</Size></Contents>`
const found = [{ Key: 'prefix/a', Size: 3, LastModified: new Date(time) }]

function pageOf(contents: string, more = ''): string {
  const root = `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`
  return `${root}<Name>b</Name>${more}<IsTruncated>false</IsTruncated>${contents}</ListBucketResult>`
}

for (const [what, xml, rest] of [
  ['on one line', pageOf(object), pageOf('')],
  ['with white space', pageOf(`\n  ${object.replaceAll('><', '>\n  <')}\n`), pageOf('\n  \n')],
  ['(none at all)', pageOf(''), pageOf('')],
  ['before the rest', pageOf(`${object}<KeyCount>1</KeyCount>`), pageOf('<KeyCount>1</KeyCount>')],
  [
    'with an owner and a checksum',
    pageOf(object.replace('<Size>', '<Owner><ID>1</ID></Owner><ChecksumType>FULL_OBJECT</ChecksumType><Size>')),
    pageOf(''),
  ],
] as const) {
  test(`objects ${what} are taken out of a page, and the rest is left`, () => {
    assert.deepEqual(takeObjects(xml), { objects: xml.includes('Contents') ? found : [], rest })
  })
}

const odd = [
  ['an entity in a key', pageOf(object.replace('prefix/a', 'prefix&#x2F;a'))],
  ['a CDATA section', pageOf(object.replace('prefix/a', '<![CDATA[prefix/a]]>'))],
  ['a comment', pageOf(object.replace('<Key>', '<!-- <Key>x</Key> --><Key>'))],
  ['an attribute', pageOf(object.replace('<Contents>', '<Contents id="1">'))],
  ['a time with an offset', pageOf(object.replace(time, '2026-01-31T13:00:00.000+01:00'))],
  ['something else between objects', pageOf(`${object}<KeyCount>2</KeyCount>${object.replace('/a', '/b')}`)],
  ['the word in another place', pageOf(object, '<StartAfter>Contents</StartAfter>')],
] as const
test('a page that is written in any other way is left to the SDK as a whole, which reads it', async (t) => {
  const { s3, store } = await s3Setting(t)
  for (const [what, xml] of odd) {
    assert.equal(takeObjects(xml), null, what)
    s3.inject({ kind: 'page', status: 200, body: xml }, on('ListObjectsV2'), 1)
    const read: ObjectInfo[] = []
    for await (const info of store.list({ prefix: '', signal: idle })) read.push(info)
    assert.deepEqual(read[0], { key: 'a', bytes: 3, modified: new Date(time) }, what)
  }
})

for (const [what, contents] of [
  ['is cut', object.slice(0, -5)],
  ['lacks its size', object.replace('<Size>3</Size>', '')],
] as const) {
  test(`an object that ${what} is no listing`, async (t) => {
    const { s3, store } = await s3Setting(t)
    const xml = pageOf(contents)
    assert.equal(takeObjects(xml), null)
    s3.inject({ kind: 'page', status: 200, body: xml }, on('ListObjectsV2'), 1)
    await failure(keysOf(store, { prefix: '' }), 'STORE_FAILED')
  })
}
