/** `list`, `mark` and `delete` as they are called. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runHere } from '../support/run-here.ts'
import { tempFolder } from '../support/temp.ts'
import type { Finished } from '../support/walferry.ts'

const fixture = join(import.meta.dirname, '../../../test/fixtures/walg')
const name = 'base_000000010000000000000002'

async function archive(t: TestContext): Promise<string> {
  const store = join(await tempFolder(t), 'archive')
  await cp(fixture, store, { recursive: true })
  return store
}

async function walferry(...args: readonly string[]): Promise<Finished> {
  return await runHere(args)
}

async function backupsIn(store: string): Promise<string[]> {
  return await readdir(join(store, 'basebackups_005'))
}

test('without a terminal nothing is deleted unless --yes is given; then the backup is gone, and no WAL', async (t) => {
  const store = await archive(t)
  const before = await backupsIn(store)
  const wal = await readdir(join(store, 'wal_005'))
  const asked = await walferry('delete', name, '--store', store)
  assert.equal(asked.code, 1)
  assert.match(
    asked.stdout,
    /Not to be restored any more: timeline 2 from 0\/2000100 to 0\/5000000; no other backup leads/,
  )
  assert.match(asked.stderr, /no terminal to ask at \[BAD_INPUT\]\nhint: .*--yes/)
  assert.deepEqual(await backupsIn(store), before)
  const done = await walferry('delete', name, '--store', store, '--yes')
  assert.equal(done.code, 0, done.stderr)
  assert.deepEqual(await readdir(join(store, 'wal_005')), wal)
  const listed = await walferry('list', '--store', store)
  assert.equal(listed.stdout, 'gap\t2\t0/5000000\t0/6000000\n')
})

test('a backup that is marked is listed as permanent, and not deleted', async (t) => {
  const store = await archive(t)
  const marked = await walferry('mark', name, '--permanent', '--store', store)
  assert.equal(marked.code, 0, marked.stderr)
  assert.match((await walferry('list', '--store', store)).stdout, /^backup\t.*\tyes\tyes\t-\n/)
  const kept = await walferry('delete', name, '--yes', '--store', store)
  assert.equal(kept.code, 1)
  assert.match(kept.stderr, /\[BACKUP_PERMANENT\]\nhint: .*--no-permanent/)
})

test('a name that is none, or none at all, and a mark without its flag are refused', async (t) => {
  const store = await archive(t)
  for (const args of [
    ['mark', '--permanent'],
    ['delete', '../elsewhere', '--yes'],
    ['mark', name],
  ]) {
    const { code, stderr } = await walferry(...args, '--store', store)
    assert.equal(code, 1, args.join(' '))
    assert.match(stderr, /\[BAD_INPUT\]/)
  }
})

test('gaps are listed until they are acknowledged, one or all', async (t) => {
  const store = await archive(t)
  const gaps = join(store, 'walferry_001/gaps')
  await mkdir(gaps, { recursive: true })
  const note = '{"timeline":1,"reason":"Gone.","noticedAt":"2026-01-31T12:00:00.000Z","acknowledged":false}\n'
  for (const from of ['05', '0a', '0b']) {
    await writeFile(join(gaps, `00000001-00000000${from}000000-00000000${from}100000.json`), note)
  }
  const listed = await walferry('acknowledge', '--store', store)
  assert.equal(listed.code, 0, listed.stderr)
  assert.equal(
    listed.stdout,
    '1/0/5000000\t1\t0/5000000\t0/5100000\n1/0/A000000\t1\t0/A000000\t0/A100000\n1/0/B000000\t1\t0/B000000\t0/B100000\n',
  )
  const waiting: { readonly store: string; readonly waiting: readonly object[] } = JSON.parse(
    (await walferry('acknowledge', '--json', '--store', store)).stdout,
  )
  assert.deepEqual([waiting.store, waiting.waiting.length], [store, 3])
  assert.deepEqual(waiting.waiting[0], { gap: '1/0/5000000', timeline: 1, from: '0/5000000', to: '0/5100000' })
  const done = await walferry('acknowledge', '1/0/a000000', '--store', store)
  assert.equal(done.stdout, '1/0/A000000 up to 0/A100000 is acknowledged\n')
  const wrong = await walferry('acknowledge', '1/0/A000000', '1/0/7000000', '--store', store)
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /no gap is noted at 1\/0\/7000000 .*\[BAD_INPUT\]\nhint: .*walferry acknowledge/)
  const both = await walferry('acknowledge', '1/0/A000000', '--all', '--store', store)
  assert.equal(both.code, 1)
  const all = await walferry('acknowledge', '--all', '--store', store)
  assert.equal(all.stdout, '1/0/5000000 up to 0/5100000 is acknowledged\n1/0/B000000 up to 0/B100000 is acknowledged\n')
  const again = await walferry('acknowledge', '1/0/5000000', '--store', store)
  assert.deepEqual([again.code, again.stdout], [0, '1/0/5000000 up to 0/5100000 was acknowledged before\n'])
  const told = await walferry('acknowledge', '1/0/5000000', '--json', '--store', store)
  const gap = { gap: '1/0/5000000', timeline: 1, from: '0/5000000', to: '0/5100000', wasBefore: true }
  assert.deepEqual(JSON.parse(told.stdout), { store, acknowledged: [gap] })
  const elsewhere = await walferry('acknowledge', '--store', await tempFolder(t))
  assert.equal(elsewhere.code, 1)
  assert.match(elsewhere.stderr, /is no archive.*\[ARCHIVE_FOREIGN\]/)
  const none = await walferry('acknowledge', '--store', store)
  assert.deepEqual([none.code, none.stdout, none.stderr], [0, '', `No gap waits to be acknowledged in ${store}.\n`])
})
