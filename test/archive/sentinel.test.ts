/** The JSON objects of a base backup: every field as WAL-G writes and reads it, numbers above 2^53 included. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { formatMetadata, formatSentinel, parseSentinel, type Sentinel } from '../../src/archive/sentinel.ts'
import { asLsn, parseLsn } from '../../src/wal/lsn.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures')
const end = '_backup_stop_sentinel.json'

// One above 2^53, and odd: as a double it would be another number.
const mine: Sentinel = {
  startLsn: asLsn(9007199254740993n),
  finishLsn: asLsn(18446744073709551615n),
  stopTimeline: null,
  serverVersion: 180004,
  systemIdentifier: 7710202200355448819n,
  plainBytes: 23580160,
  storedBytes: 1241923,
  startTime: new Date('2026-11-20T10:42:23.478Z'),
  finishTime: new Date('2026-11-20T10:42:23.574Z'),
  host: 'db1',
  dataFolder: '/var/lib/postgresql/18/main',
  isPermanent: true,
  label: null,
  tablespaces: [],
  deltaFrom: null,
}
const everything: Sentinel = {
  ...mine,
  stopTimeline: 2,
  label: 'before "the" migration',
  tablespaces: [
    { oid: '16384', location: '/mnt/fast' },
    { oid: '16390', location: '/mnt/big one' },
  ],
}

function ofFixture(path: string): Sentinel {
  const key = `basebackups_005/${path}${end}`
  const folder = path.endsWith('2') ? 'walg' : 'walg-local'
  return parseSentinel(key, readFileSync(join(fixtures, folder, key)))
}

test('a sentinel is written byte for byte in the fields of WAL-G', () => {
  assert.equal(
    formatSentinel(mine),
    '{"LSN":9007199254740993,"FinishLSN":18446744073709551615,"PgVersion":180004,' +
      '"SystemIdentifier":7710202200355448819,"UncompressedSize":23580160,"CompressedSize":1241923,' +
      '"FilesMetadataDisabled":true,"Version":2,"StartTime":"2026-11-20T10:42:23.478Z",' +
      '"FinishTime":"2026-11-20T10:42:23.574Z","DateFmt":"%Y-%m-%dT%H:%M:%S.%fZ","Hostname":"db1",' +
      '"DataDir":"/var/lib/postgresql/18/main","IsPermanent":true}',
  )
  const all = formatSentinel(everything)
  assert.match(all, /"FinishLSN":18446744073709551615,"StopTimeline":2,"PgVersion":180004,/)
  assert.ok(
    all.endsWith(
      ',"IsPermanent":true,"UserData":"before \\"the\\" migration","Spec":{' +
        '"16384":{"loc":"/mnt/fast","link":"pg_tblspc/16384"},"16390":{"loc":"/mnt/big one","link":"pg_tblspc/16390"},' +
        '"base_prefix":"/var/lib/postgresql/18/main","tablespaces":["16384","16390"]}}',
    ),
    all,
  )
})

test('the metadata is written byte for byte in the fields of WAL-G', () => {
  assert.equal(
    formatMetadata(mine),
    '{"start_time":"2026-11-20T10:42:23.478Z","finish_time":"2026-11-20T10:42:23.574Z",' +
      '"date_fmt":"%Y-%m-%dT%H:%M:%S.%fZ","hostname":"db1","data_dir":"/var/lib/postgresql/18/main",' +
      '"pg_version":180004,"start_lsn":9007199254740993,"finish_lsn":18446744073709551615,"is_permanent":true,' +
      '"system_identifier":7710202200355448819,"uncompressed_size":23580160,"compressed_size":1241923}',
  )
})

test('what is written is read again', () => {
  for (const one of [mine, everything]) assert.deepEqual(parseSentinel('k', Buffer.from(formatSentinel(one))), one)
})

test('the sentinels that WAL-G wrote are read, to the last digit', () => {
  assert.deepEqual(ofFixture('base_000000010000000000000002'), {
    startLsn: parseLsn('0/2000028'),
    finishLsn: parseLsn('0/2000100'),
    stopTimeline: null,
    serverVersion: 150018,
    systemIdentifier: 7710202200355448818n,
    plainBytes: 23580160,
    storedBytes: 1241923,
    startTime: new Date('2026-11-20T10:42:23.478Z'),
    finishTime: new Date('2026-11-20T10:42:23.574Z'),
    host: 'vm',
    dataFolder: '/var/lib/postgresql/g1',
    isPermanent: false,
    label: null,
    tablespaces: [],
    deltaFrom: null,
  })
  assert.equal(ofFixture('base_000000020000000000000008').deltaFrom, null)
  const delta = ofFixture('base_00000002000000000000000A_D_000000020000000000000008')
  assert.equal(delta.deltaFrom, 'base_000000020000000000000008')
})

function wrong(text: string): () => Sentinel {
  return () => parseSentinel('basebackups_005/x', Buffer.from(text))
}

test('what is not a sentinel is damage, with the field that is wrong', () => {
  assert.throws(wrong('{"LSN":'), { code: 'ARCHIVE_DAMAGED', message: /basebackups_005\/x is no JSON/ })
  assert.throws(wrong('[]'), { code: 'ARCHIVE_DAMAGED' })
  assert.throws(wrong(formatSentinel(mine).replace('"LSN":9007199254740993', '"LSN":-1')), { message: /LSN/ })
  assert.throws(wrong(formatSentinel(mine).replace('9007199254740993', '1.5')), { message: /LSN/ })
  assert.throws(wrong(formatSentinel(mine).replace(/"FinishLSN":\d+,/, '')), { message: /FinishLSN/ })
  assert.throws(wrong(formatSentinel(everything).replace('"loc":"/mnt/fast"', '"loc":1')), {
    message: /tablespace 16384/,
  })
  assert.throws(wrong(formatSentinel(everything).replace('["16384"', '["../etc"')), { code: 'ARCHIVE_DAMAGED' })
})
