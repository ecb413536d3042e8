/** What check finds out about a store, and that nothing of it stays there. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Finding } from '../../src/check/finding.ts'
import { checkStore } from '../../src/check/store.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { tempFolder } from '../support/temp.ts'
import { deadline } from '../support/postgres.ts'
import { on, s3Setting } from '../store/s3-setting.ts'

const steps = ['store write', 'store read', 'store list', 'store delete', 'store condition']

function states(findings: readonly Finding[]): string[] {
  assert.deepEqual(
    findings.map(({ name }) => name),
    steps,
  )
  return findings.map(({ state }) => state)
}

const allOk = ['ok', 'ok', 'ok', 'ok', 'ok']

test('a folder that takes and gives back is found to do so, and stays empty', async (t) => {
  const folder = await tempFolder(t)
  const store = new DirectoryStore(folder)
  t.after(() => store.close())
  assert.deepEqual(states(await checkStore(store, deadline())), allOk)
  const left = await readdir(folder, { recursive: true, withFileTypes: true })
  assert.deepEqual(
    left.filter((entry) => entry.isFile()),
    [],
  )
})

test('a folder that is not there fails the first step, with a remedy, and the others are skipped', async (t) => {
  const store = new DirectoryStore(join(await tempFolder(t), 'not-mounted'))
  t.after(() => store.close())
  const findings = await checkStore(store, deadline())
  assert.deepEqual(states(findings), ['failed', 'skipped', 'skipped', 'skipped', 'skipped'])
  assert.match(findings[0]?.what ?? '', /not-mounted/)
  assert.ok(findings[0]?.remedy)
})

test('an S3 service passes every step, and its bucket stays empty', async (t) => {
  const { s3, store } = await s3Setting(t)
  assert.deepEqual(states(await checkStore(store, deadline())), allOk)
  assert.deepEqual([...s3.objects.keys()], [])
})

for (const conditionalWrites of ['refused', 'ignored'] as const) {
  test(`a store where conditional writes are ${conditionalWrites} is a warning, not a failure`, async (t) => {
    const { s3, store } = await s3Setting(t, {}, { conditionalWrites })
    const findings = await checkStore(store, deadline())
    assert.deepEqual(states(findings), ['ok', 'ok', 'ok', 'ok', 'warning'])
    assert.match(findings.at(-1)?.what ?? '', /^the store (refuses|ignores) conditional writes/)
    assert.deepEqual([...s3.objects.keys()], [])
  })
}

test('a store that may not be deleted from fails that step alone, and names what stays', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.inject({ kind: 'error', status: 403, code: 'AccessDenied' }, on('DeleteObjects'))
  const findings = await checkStore(store, deadline())
  assert.deepEqual(states(findings), ['ok', 'ok', 'ok', 'failed', 'skipped'])
  const [left = '', ...more] = s3.objects.keys()
  assert.deepEqual(more, [], 'one object stays, and not a second one of the condition')
  assert.ok(findings[3]?.what.includes(left.replace('prefix/', '')), findings[3]?.what)
  assert.match(findings[3]?.remedy ?? '', /s3:DeleteObject/)
})

test('credentials that are refused fail the first step, and are not told', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.inject({ kind: 'error', status: 403, code: 'AccessDenied' })
  const findings = await checkStore(store, deadline())
  assert.deepEqual(states(findings), ['failed', 'skipped', 'skipped', 'skipped', 'skipped'])
  assert.match(findings[0]?.remedy ?? '', /credentials/)
  assert.ok(!JSON.stringify(findings).includes(s3.secretAccessKey))
})

test('bytes that come back otherwise than they were put are found, also where only a part of them is asked for', async () => {
  for (const spoil of ['bytes', 'range'] as const) {
    const store = new MemoryStore()
    const whole = store.get.bind(store)
    store.get = async (key, options) => {
      if (spoil === 'range') return await whole(key, { signal: options.signal })
      store.set(key, Buffer.from('something else'))
      return await whole(key, options)
    }
    const findings = await checkStore(store, deadline())
    assert.deepEqual(states(findings), ['ok', 'failed', 'ok', 'ok', 'ok'])
    assert.match(findings[1]?.what ?? '', spoil === 'range' ? /from byte 1000 on/ : /from byte 0 on/)
    assert.deepEqual(store.keys, [])
  }
})

test('an object that is not listed, and one that is still there when it was deleted, are found', async () => {
  const store = new MemoryStore()
  store.list = async function* () {}
  const remove = store.deleteMany.bind(store)
  store.deleteMany = async () => undefined
  const findings = await checkStore(store, deadline())
  assert.deepEqual(states(findings), ['ok', 'ok', 'failed', 'failed', 'skipped'])
  assert.equal(store.keys.length, 1)
  await remove(store.keys, { signal: deadline() })
})

test('an abort at any request leaves nothing in the store', async () => {
  const counted = new MemoryStore()
  let requests = 0
  counted.before = () => {
    requests++
  }
  await checkStore(counted, deadline())
  assert.ok(requests > 6)
  for (let at = 1; at <= requests; at++) {
    const store = new MemoryStore()
    const stop = new AbortController()
    let seen = 0
    store.before = () => {
      if (++seen === at) stop.abort(new Error('stopped'))
    }
    // oxlint-disable-next-line no-loop-func -- each round has its own
    await checkStore(store, stop.signal).then(
      () => assert.equal(at, requests, 'only what comes after the last step may be cut without notice'),
      (error: unknown) => assert.match(String(error), /stopped/),
    )
    assert.deepEqual(store.keys, [], `aborted at request ${at}`)
  }
})
