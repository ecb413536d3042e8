/** What each check makes of the facts, by table. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkClock } from '../../src/check/clock.ts'
import { checkConnection, checkPrivileges, checkVersion } from '../../src/check/connection.ts'
import type { Finding } from '../../src/check/finding.ts'
import type { SeenSlot, ServerFacts, Settings, SqlFacts } from '../../src/check/server-facts.ts'
import { checkSettings } from '../../src/check/settings.ts'
import { checkOtherHosts, checkSlot } from '../../src/check/slot.ts'
import { checkSpace } from '../../src/check/spool.ts'
import { checkSynchronous, isListed } from '../../src/check/synchronous.ts'
import { isPassed, tellJson, tellText } from '../../src/check/tell.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

const settings: Settings = {
  server_version: '18.4 (Debian 18.4-1.pgdg13+1)',
  wal_level: 'replica',
  max_wal_senders: '10',
  max_replication_slots: '10',
  max_slot_wal_keep_size: '-1',
  wal_sender_timeout: '1min',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_standby_names: '',
  synchronous_commit: 'on',
}

const sql: SqlFacts = {
  isSuperuser: false,
  senders: 1,
  slots: 1,
  remoteApply: [],
  clock: { serverMs: 1000, beforeMs: 1000, afterMs: 1000 },
}

const there = { host: 'a:5432', tlsVersion: 'TLSv1.3' }
const refused = {
  error: new WalferryError('PG_REFUSED', 'cannot connect to a:5432: no', {
    hint: 'Do it.',
    fields: { sqlstate: '42501' },
  }),
}
const noneFree = { error: new WalferryError('PG_CONNECTION_LOST', 'cannot', { fields: { sqlstate: '53300' } }) }
const identity = { systemIdentifier: 7n, timeline: 1, flushedUpTo: parseLsn('0/3000000'), segmentBytes: 1024 ** 2 }

const good: ServerFacts = {
  replication: there,
  ordinary: there,
  settings,
  identity,
  slot: { by: 'sql', seen: null },
  sql,
  otherHosts: [],
}
const away: ServerFacts = {
  replication: refused,
  ordinary: refused,
  settings: null,
  identity: null,
  slot: null,
  sql: null,
  otherHosts: [],
}

const target = parseTarget('host=a user=keeper', {})

test('the connection: either kind will do to tell where it leads', () => {
  assert.deepEqual(checkConnection(good), { name: 'connection', state: 'ok', what: 'a:5432, TLSv1.3' })
  const plain = { host: 'a:5432', tlsVersion: null }
  assert.equal(checkConnection({ ...away, ordinary: plain }).what, 'a:5432, without TLS')
  const none = checkConnection(away)
  assert.deepEqual([none.state, none.remedy], ['failed', 'Do it.'])
})

test('the version: 13 to 18, newer ones with a warning', () => {
  for (const [version, state, what] of [
    ['18.4 (Debian 18.4-1.pgdg13+1)', 'ok', 'PostgreSQL 18.4'],
    ['13.0', 'ok', 'PostgreSQL 13.0'],
    ['12.22', 'failed', 'PostgreSQL 12.22 is older than 13'],
    ['19beta1', 'warning', 'PostgreSQL 19beta1: walferry was tried with 13 to 18'],
  ] as const) {
    const found = checkVersion({ ...good, settings: { ...settings, server_version: version } })
    assert.deepEqual([found.state, found.what], [state, what])
  }
  assert.equal(checkVersion(away).state, 'skipped')
})

test('the privileges: replication is needed, an ordinary connection helps, a superuser is too much', () => {
  const noSenders = { ...settings, max_wal_senders: '0' }
  for (const [facts, state] of [
    [good, 'ok'],
    [{ ...good, replication: refused }, 'failed'],
    [{ ...good, replication: noneFree, settings: noSenders }, 'skipped'],
    [{ ...good, replication: noneFree, sql: { ...sql, senders: 10 } }, 'skipped'],
    [{ ...good, replication: noneFree }, 'failed'],
    [{ ...good, ordinary: refused, sql: null }, 'warning'],
    [{ ...good, sql: { ...sql, isSuperuser: true } }, 'warning'],
    [away, 'skipped'],
  ] as const) {
    assert.equal(checkPrivileges(facts, target).state, state)
  }
})

/** The findings that are not ok, as `name state`. */
function complaints(change: Partial<Settings>, facts: Partial<ServerFacts> = {}): string[] {
  const findings = checkSettings({ ...good, settings: { ...settings, ...change }, ...facts }, 'walferry')
  for (const { state, remedy } of findings) {
    if (state === 'failed' || state === 'warning') assert.ok(remedy)
  }
  return findings.filter(({ state }) => state !== 'ok').map(({ name, state }) => `${name} ${state}`)
}

test('settings', () => {
  assert.deepEqual(complaints({}), [])
  assert.deepEqual(complaints({}, { sql: null }), [])
  assert.deepEqual(complaints({ wal_level: 'logical', max_slot_wal_keep_size: '10GB' }), [])
  assert.deepEqual(complaints({ wal_level: 'minimal', max_wal_senders: '0' }), [
    'wal_level failed',
    'max_wal_senders failed',
  ])
  assert.deepEqual(complaints({ max_wal_senders: '1' }), ['max_wal_senders warning'])
  assert.deepEqual(complaints({ max_wal_senders: '1' }, { replication: noneFree }), ['max_wal_senders failed'])
  const active = { by: 'sql', seen: { ...slot, activePid: '4711' } } as const
  const receiving = complaints({ max_wal_senders: '1' }, { replication: noneFree, slot: active })
  assert.deepEqual(receiving, ['max_wal_senders warning'])
  assert.deepEqual(complaints({ max_replication_slots: '0' }), ['max_replication_slots failed'])
  assert.deepEqual(complaints({ max_replication_slots: '1' }), ['max_replication_slots failed'])
  assert.deepEqual(complaints({ max_replication_slots: '1' }, { slot: { by: 'sql', seen: slot } }), [])
  assert.deepEqual(complaints({ wal_sender_timeout: '0' }), ['wal_sender_timeout warning'])
  assert.deepEqual(complaints({ wal_sender_timeout: '9999ms' }), ['wal_sender_timeout warning'])
  assert.deepEqual(complaints({ fsync: 'off' }), ['durability warning'])
  assert.deepEqual(complaints({ full_page_writes: 'off' }), ['durability warning'])
  assert.ok(checkSettings(away, 'walferry').every(({ state }) => state === 'skipped'))
})

test('which names synchronous_standby_names lists', () => {
  for (const [standbys, listed] of [
    ['', false],
    ['walferry', true],
    ['WALFERRY', true],
    ['a, walferry', true],
    ['a,b', false],
    ['*', true],
    ['"*"', true],
    ['1 (walferry)', true],
    ['FIRST 2 (a, "walferry", b)', true],
    ['any 1 (a, b)', false],
    ['ANY 1 (*)', true],
    ['first 1 (walferry2, my_walferry)', false],
    ['"wal""ferry"', false],
    ['"a, walferry"', false],
    ['first', false],
  ] as const) {
    assert.equal(isListed(standbys, 'walferry'), listed, standbys)
  }
  assert.ok(isListed('"Wal ""1"" (x)"', 'wal "1" (x)'))
})

test('remote_apply fails where walferry is a synchronous standby, whoever sets it', () => {
  for (const [standbys, commit, remoteApply, state] of [
    ['', 'remote_apply', ['role app'], 'ok'],
    ['walferry', 'on', [], 'ok'],
    ['walferry', 'local', [], 'ok'],
    ['walferry', 'remote_apply', [], 'failed'],
    ['walferry', 'on', ['role app in database shop'], 'failed'],
  ] as const) {
    const changed = { ...settings, synchronous_standby_names: standbys, synchronous_commit: commit }
    const found = checkSynchronous({ ...good, settings: changed, sql: { ...sql, remoteApply } }, 'walferry')
    assert.equal(found.state, state, JSON.stringify(found))
    for (const where of state === 'failed' ? remoteApply : []) assert.ok(found.what.includes(where))
  }
  assert.equal(checkSynchronous(away, 'walferry').state, 'skipped')
})

const slot: SeenSlot = {
  type: 'physical',
  activePid: null,
  restartLsn: '0/2000000',
  walStatus: 'reserved',
  invalidation: null,
}
const wanted = { name: 'walferry', required: false, isReceiving: false }

test('the slot, seen by SQL', () => {
  for (const [change, how, state, what] of [
    [{}, {}, 'ok', /keeps WAL from 0\/2000000 on/],
    [{ type: 'logical' }, {}, 'failed', /logical/],
    [{ restartLsn: null, walStatus: null }, {}, 'warning', /keeps no WAL/],
    [{ walStatus: 'extended' }, {}, 'ok', /keeps WAL/],
    [{ walStatus: 'unreserved' }, {}, 'warning', /next checkpoint/],
    [{ restartLsn: null, walStatus: 'lost' }, {}, 'failed', /invalidated/],
    [{ invalidation: 'idle_timeout' }, {}, 'failed', /idle_timeout/],
    [{ activePid: '4711' }, {}, 'warning', /4711.*not with this spool/],
    [{ activePid: '4711' }, { isReceiving: true }, 'ok', /4711/],
  ] as const) {
    const found = checkSlot({ ...good, slot: { by: 'sql', seen: { ...slot, ...change } } }, { ...wanted, ...how })
    assert.equal(found.state, state, JSON.stringify(found))
    assert.match(found.what, what)
  }
  assert.match(checkSlot(good, wanted).what, /receive creates it/)
  assert.equal(checkSlot(good, { ...wanted, required: true }).state, 'failed')
  assert.equal(checkSlot(away, wanted).state, 'skipped')
})

test('the slot, read by the replication protocol alone', () => {
  for (const [read, state] of [
    [{ state: 'missing' }, 'ok'],
    [{ state: 'unreserved' }, 'warning'],
    [{ state: 'unreadable' }, 'skipped'],
    [{ state: 'reserved', restartLsn: parseLsn('0/2000000'), restartTimeline: 1 }, 'ok'],
    [refused, 'failed'],
  ] as const) {
    assert.equal(checkSlot({ ...good, slot: { by: 'protocol', read } }, wanted).state, state)
  }
})

test('other hosts: of the same cluster, with a slot of our name', () => {
  const reserved = { state: 'reserved', restartLsn: parseLsn('0/2000000'), restartTimeline: 1 } as const
  for (const [found, state, what] of [
    [{ systemIdentifier: 7n, slot: reserved }, 'ok', /has the slot walferry/],
    [{ systemIdentifier: 7n, slot: { state: 'missing' } }, 'warning', /has no slot walferry/],
    [{ systemIdentifier: 7n, slot: { state: 'unreserved' } }, 'warning', /keeps no WAL/],
    [{ systemIdentifier: 7n, slot: { state: 'unreadable' } }, 'skipped', /ordinary connection/],
    [{ systemIdentifier: 8n, slot: reserved }, 'failed', /another cluster/],
    [refused, 'warning', /cannot connect/],
  ] as const) {
    const [finding, ...more] = checkOtherHosts({ ...good, otherHosts: [{ host: 'b:5432', found }] }, 'walferry')
    assert.deepEqual([finding?.name, finding?.state, more], ['host b:5432', state, []])
    assert.match(finding?.what ?? '', what)
  }
})

test('the space of the spool: a GiB, or ten segments where they are larger', () => {
  const gibibyte = 1024 ** 3
  const facts = { folder: '/s', fault: null, isThere: true, isLocked: false, owner: null }
  for (const [freeBytes, segmentBytes, state] of [
    [gibibyte, 1024 ** 2, 'ok'],
    [gibibyte - 1, 1024 ** 2, 'warning'],
    [gibibyte, null, 'ok'],
    [10 * gibibyte, gibibyte, 'ok'],
    [10 * gibibyte - 1, gibibyte, 'warning'],
    [null, gibibyte, 'skipped'],
  ] as const) {
    assert.equal(checkSpace({ ...facts, freeBytes }, segmentBytes).state, state)
  }
})

test('the clock: what the way there and back takes is no difference', () => {
  for (const [serverMs, afterMs, state] of [
    [1000, 1000, 'ok'],
    [6000, 1000, 'ok'],
    [6001, 1000, 'warning'],
    [25_000, 30_000, 'ok'],
    [35_001, 30_000, 'warning'],
    [-4000, 1000, 'ok'],
    [-4001, 1000, 'warning'],
  ] as const) {
    const found = checkClock({ serverMs, beforeMs: 1000, afterMs })
    assert.equal(found.state, state, `${serverMs} ${found.what}`)
  }
  assert.match(checkClock({ serverMs: 61_000, beforeMs: 1000, afterMs: 1000 }).what, /60\.0 s ahead of ours/)
  assert.match(checkClock({ serverMs: 1000, beforeMs: 61_000, afterMs: 61_000 }).what, /60\.0 s behind ours/)
  assert.equal(checkClock(null).state, 'skipped')
})

test('a warning passes and a failure does not; each line stands in columns, whatever a server says', () => {
  const findings: Finding[] = [
    { name: 'connection', state: 'ok', what: 'a:5432' },
    { name: 'slot', state: 'warning', what: 'two\r\n  lines', remedy: 'Do it.' },
  ]
  assert.ok(isPassed(findings))
  assert.ok(!isPassed([...findings, { name: 'x', state: 'failed', what: 'y' }]))
  assert.equal(
    tellText(findings),
    'ok       connection  a:5432\nwarning  slot        two lines\n                     Do it.\n',
  )
  assert.deepEqual(JSON.parse(tellJson(findings)), { ok: true, checks: findings })
})
