import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deleteBacklog, formatBacklog, parseBacklog, putBacklog, readBacklog } from '../../src/archive/backlog.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { MemoryStore } from '../support/memory-store.ts'

const { signal } = new AbortController()
const key = 'walferry_001/backlog/walferry.json'
const note = { timeline: 3, lsn: parseLsn('16/B374D848'), host: 'walferry-1', time: new Date('2026-11-21T01:38:00Z') }
const text = '{"timeline":3,"lsn":"16/B374D848","host":"walferry-1","time":"2026-11-21T01:38:00.000Z"}'

test('a note is written over the one before, found, and deleted', async () => {
  const store = new MemoryStore()
  assert.deepEqual(await readBacklog(store, { signal }), [])
  await putBacklog(store, 'walferry', { ...note, timeline: 2 }, { signal })
  await putBacklog(store, 'walferry', note, { signal })
  await putBacklog(store, 'other_1234567890123456789', note, { signal })
  assert.equal(Buffer.from(store.peek(key)).toString(), text)
  assert.deepEqual(await readBacklog(store, { signal }), [
    { slot: 'other_1234567890123456789', note },
    { slot: 'walferry', note },
  ])
  await deleteBacklog(store, 'walferry', { signal })
  await deleteBacklog(store, 'walferry', { signal })
  assert.deepEqual(await readBacklog(store, { signal }), [{ slot: 'other_1234567890123456789', note }])
})

test('one that is deleted while they are read is none; what is no note is passed over', async () => {
  const store = new MemoryStore()
  store.set('walferry_001/backlog/README')
  await putBacklog(store, 'walferry', note, { signal })
  store.before = (operation) => {
    if (operation === 'get') store.delete(key)
  }
  assert.deepEqual(await readBacklog(store, { signal }), [])
})

test('what cannot be a note is damage, and names the key', () => {
  const good: unknown = JSON.parse(text)
  assert.ok(typeof good === 'object')
  const changes = [
    { timeline: 0 },
    { timeline: 1.5 },
    { timeline: '1' },
    { timeline: 2 ** 32 },
    { lsn: '16' },
    { lsn: '16/B374D8480' },
    { lsn: 1 },
    { host: '' },
    { host: 'a\nb' },
    { host: '\u001b[2J' },
    { host: 'x'.repeat(256) },
    { time: 'yesterday' },
    { time: 0 },
  ]
  const texts = changes.map((change) => JSON.stringify({ ...good, ...change }))
  for (const bad of [...texts, '', 'null', '[]', '{', text.slice(0, -1)]) {
    assert.throws(
      () => parseBacklog(key, Buffer.from(bad)),
      { code: 'ARCHIVE_DAMAGED', message: /backlog\/walferry\.json/ },
      bad,
    )
  }
  assert.deepEqual(parseBacklog(key, Buffer.from(JSON.stringify({ ...good, more: 1 }))), note)
  assert.equal(formatBacklog(note), text)
})

test('one that is too large is not read on', async () => {
  const store = new MemoryStore()
  store.set(key, Buffer.alloc(1024 * 1024, ' '))
  await assert.rejects(readBacklog(store, { signal }), { code: 'ARCHIVE_DAMAGED', message: /more than 4096 bytes/ })
})
