/**
 * What every store promises (src/store/object-store.ts), as tests that each of them must pass.
 *
 * Each test works below a folder of its own, so that one store can serve all of them.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { getEventListeners, setMaxListeners } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { isError } from '../../src/kit/errors.ts'
import type { ListOptions, ObjectStore } from '../../src/store/object-store.ts'
import { collectGarbage } from '../support/garbage.ts'

export interface OpenedStore {
  readonly store: ObjectStore
  /** Stores small objects behind the store's back, where that is faster. */
  readonly fill?: (keys: readonly string[]) => Promise<void>
  /** Bytes that the store's server holds, if it lives in this process. */
  readonly serverBytes?: () => number
  readonly cleanup: () => Promise<void>
}

const mebibyte = 1024 * 1024
const idle = new AbortController().signal
setMaxListeners(0, idle) // some tests make a dozen calls at once
const replace = { ifAbsent: false, signal: idle }
const ifAbsent = { ifAbsent: true, signal: idle }

export function objectStoreContract(name: string, open: () => Promise<OpenedStore>): void {
  describe(`the object store ${name}`, () => {
    let opened: OpenedStore
    let store: ObjectStore

    before(async () => {
      opened = await open()
      store = opened.store
    })
    after(async () => {
      await opened.cleanup()
    })

    async function fill(keys: readonly string[]): Promise<void> {
      if (opened.fill !== undefined) await opened.fill(keys)
      else for (const key of keys) await store.put(key, Buffer.from('x'), replace)
    }

    function held(enough: number): Promise<number> {
      return heldBytes(enough, () => opened.serverBytes?.() ?? 0)
    }

    it('gives back what was put, from any byte on', async () => {
      const bytes = randomBytes(mebibyte + 7)
      await store.put('whole/a', bytes, replace)
      for (const from of [0, 1, 65_536, bytes.length - 1, bytes.length, bytes.length + 1]) {
        const got = await readAll(store, 'whole/a', from)
        assert.ok(got.equals(bytes.subarray(from)), `from ${from}: ${got.length} bytes`)
      }
    })

    it('takes an empty object', async () => {
      await store.put('empty/buffer', Buffer.alloc(0), replace)
      await store.put('empty/iterable', chunks([]), ifAbsent)
      for (const key of ['empty/buffer', 'empty/iterable']) {
        assert.equal((await readAll(store, key)).length, 0)
        assert.equal((await store.head(key, { signal: idle }))?.bytes, 0)
      }
    })

    it('joins the chunks of an iterable, whatever their sizes', async () => {
      const bytes = randomBytes(100_000)
      const cuts = [0, 0, 1, 1, 4096, 99_999, 100_000, 100_000]
      const pieces = cuts.map((cut, index) => bytes.subarray(cuts[index - 1] ?? 0, cut))
      await store.put('iterable/a', chunks(pieces), replace)
      assert.ok((await readAll(store, 'iterable/a')).equals(bytes))
    })

    it('replaces an object, but not with ifAbsent', async () => {
      await store.put('twice/a', Buffer.from('first'), ifAbsent)
      await rejectsWith(store.put('twice/a', Buffer.from('second'), ifAbsent), 'KEY_EXISTS')
      await rejectsWith(store.put('twice/a', chunks([Buffer.from('third')]), ifAbsent), 'KEY_EXISTS')
      assert.equal((await readAll(store, 'twice/a')).toString(), 'first')
      await store.put('twice/a', Buffer.from('4th'), replace)
      assert.equal((await readAll(store, 'twice/a')).toString(), '4th')
    })

    it('lets one of twelve win that put the same key at once', async () => {
      const bodies = Array.from({ length: 12 }, (_, index) => Buffer.from(`writer ${index}`))
      const results = await Promise.allSettled(bodies.map((body) => store.put('race/new/a', body, ifAbsent)))
      const winners = bodies.filter((_, index) => results[index]?.status === 'fulfilled')
      assert.equal(winners.length, 1)
      assert.deepEqual(await readAll(store, 'race/new/a'), winners[0])
      for (const result of results) {
        if (result.status === 'rejected') assert.ok(isError(result.reason, 'KEY_EXISTS'), String(result.reason))
      }
    })

    it('stores nothing of an iterable that throws, and throws its error on', async () => {
      await store.put('throws/old', Buffer.from('old'), replace)
      for (const [key, bytes] of [
        ['throws/early', 10],
        ['throws/late', 17 * mebibyte],
        ['throws/old', 17 * mebibyte],
      ] as const) {
        const broken = new Error('the disk that it is read from broke')
        await assert.rejects(store.put(key, breaksAfter(bytes, broken), replace), (error) => error === broken)
      }
      assert.deepEqual(await keysOf(store, { prefix: 'throws/' }), ['throws/old'])
      assert.equal((await readAll(store, 'throws/old')).toString(), 'old')
    })

    it('closes an iterable that it does not read to its end', async () => {
      await store.put('closes/a', Buffer.from('x'), replace)
      let closed = false
      async function* endless(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) {
            await Promise.resolve()
            yield Buffer.alloc(4096)
            stop.abort(new Error('enough'))
          }
        } finally {
          closed = true
        }
      }
      const stop = new AbortController()
      await assert.rejects(store.put('closes/b', endless(), { ifAbsent: false, signal: stop.signal }), /enough/)
      assert.ok(closed)
    })

    it('carries an iterable of 40 MiB with bounded memory', async () => {
      // A part of 16 MiB, and as much that is on its way: still less than the whole.
      const bound = 32 * mebibyte
      const baseline = await held(0)
      let most = 0
      const sent = createHash('sha256')
      async function* body(): AsyncGenerator<Uint8Array> {
        for (let count = 1; count <= 40; count++) {
          await Promise.resolve()
          const chunk = Buffer.alloc(mebibyte, count)
          sent.update(chunk)
          yield chunk
          if (count % 8 === 0) most = Math.max(most, (await held(baseline + bound)) - baseline)
        }
      }
      await store.put('large/a', body(), ifAbsent)
      assert.ok(most < bound, `held ${most} bytes`)
      await rejectsWith(store.put('large/a', breaksAfter(17 * mebibyte), ifAbsent), 'KEY_EXISTS')
      const received = createHash('sha256')
      for await (const chunk of await store.get('large/a', { signal: idle })) received.update(chunk)
      assert.equal(received.digest('hex'), sent.digest('hex'))
    })

    it('tells the size and the time of an object, and null for one that is not there', async () => {
      const startedMs = Date.now()
      await store.put('head/folder/a', Buffer.alloc(12_345), replace)
      const info = await store.head('head/folder/a', { signal: idle })
      assert.equal(info?.key, 'head/folder/a')
      assert.equal(info.bytes, 12_345)
      // S3 gives whole seconds, and the store has a clock of its own.
      assert.ok(Math.abs(info.modified.getTime() - startedMs) < 60_000, String(info.modified))
      for (const key of ['head/folder', 'head/folder/b', 'head/none/a', 'head/folder/a/b', 'head/folder/a.b']) {
        assert.equal(await store.head(key, { signal: idle }), null, key)
        await rejectsWith(store.get(key, { signal: idle }), 'KEY_MISSING')
      }
    })

    it('finds those of some keys that begin alike, in the order that was asked', async () => {
      const there = ['among/a', 'among/a.lz4', 'among/a.partial.lz4', 'among/ab', 'among/a.zst', 'among/b.lz4']
      await fill(there)
      const ends = ['.gz', '.zst', '', '.lz4', '.b']
      const found = await store.findAmong('among/a', ends, { signal: idle })
      assert.deepEqual(
        found.map(({ key }) => key),
        ['among/a.zst', 'among/a', 'among/a.lz4'],
      )
      assert.equal(found[1]?.bytes, (await store.head('among/a', { signal: idle }))?.bytes)
      assert.deepEqual(await store.findAmong('among/c', ends, { signal: idle }), [])
      assert.deepEqual(await store.findAmong('none/a', ends, { signal: idle }), [])
      await assert.rejects(store.findAmong('among/a', ends, { signal: AbortSignal.abort() }), { name: 'AbortError' })
    })

    it('lists in the order of the keys’ bytes, by prefix, after a key, up to a limit', async () => {
      const seed = Number(process.env['WALFERRY_TEST_SEED'] ?? Date.now() % 1_000_000)
      const context = `WALFERRY_TEST_SEED=${seed}`
      const random = randomFrom(seed)
      const keys = treeOfKeys(random, 80).map((key) => `list/${key}`)
      await fill(keys)
      const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      assert.deepEqual(await keysOf(store, { prefix: 'list/' }), sorted, context)
      for (let round = 0; round < 60; round++) {
        const near = keys[Math.floor(random() * keys.length)] ?? ''
        const other = keys[Math.floor(random() * keys.length)] ?? ''
        const prefix = near.slice(0, 5 + Math.floor(random() * (near.length - 4)))
        const after = random() < 0.3 ? '' : other.slice(0, 1 + Math.floor(random() * other.length))
        const limit = random() < 0.3 ? Infinity : Math.floor(random() * 6)
        const wanted = sorted.filter((key) => key.startsWith(prefix) && key > after).slice(0, limit)
        const options = { prefix, ...(after === '' ? {} : { after }), ...(limit === Infinity ? {} : { limit }) }
        assert.deepEqual(await keysOf(store, options), wanted, `${context}, ${JSON.stringify(options)}`)
      }
    })

    it('lists and deletes more than a page', async () => {
      const keys = Array.from({ length: 1200 }, (_, index) => `many/${String(index).padStart(8, '0')}.lz4`)
      await fill(keys)
      assert.deepEqual(await keysOf(store, { prefix: 'many/' }), keys)
      assert.deepEqual(await keysOf(store, { prefix: 'many/', after: keys[999] ?? '', limit: 1 }), [keys[1000]])
      assert.deepEqual(await keysOf(store, { prefix: 'many/', limit: 1001 }), keys.slice(0, 1001))
      assert.deepEqual(await keysOf(store, { prefix: 'many/', after: 'many/9' }), [])
      await store.deleteMany(['many/none', ...keys.slice(0, 1050), 'none/at/all'], { signal: idle })
      assert.deepEqual(await keysOf(store, { prefix: 'many/' }), keys.slice(1050))
      await store.deleteMany([], { signal: idle })
      await store.deleteMany(keys, { signal: idle })
      assert.deepEqual(await keysOf(store, { prefix: 'many/' }), [])
    })

    it('refuses what is no key', async () => {
      const bad = ['', '/', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/..', 'a/../b', 'a/./b', 'a b', 'a\0b', 'ä', 'a\n']
      for (const key of [...bad, 'a\\b', '.walferry-tmp/a', '.walferry-tmp']) {
        await rejectsWith(store.put(key, Buffer.from('x'), replace), 'BAD_INPUT')
        await rejectsWith(store.get(key, { signal: idle }), 'BAD_INPUT')
        await rejectsWith(store.head(key, { signal: idle }), 'BAD_INPUT')
        await rejectsWith(store.deleteMany(['fine', key], { signal: idle }), 'BAD_INPUT')
      }
      for (const prefix of ['/', '../', 'a/../', 'a//', 'ä']) {
        await rejectsWith(keysOf(store, { prefix }), 'BAD_INPUT')
      }
    })

    it('rejects with the reason of an abort, and leaves no listener behind', async () => {
      await store.put('abort/a', Buffer.alloc(3 * mebibyte), replace)
      const reason = new Error('the second signal')
      const isReason = (error: unknown): boolean => error === reason
      const aborted = AbortSignal.abort(reason)
      await assert.rejects(store.put('abort/b', Buffer.from('x'), { ifAbsent: true, signal: aborted }), isReason)
      await assert.rejects(store.get('abort/a', { signal: aborted }), isReason)
      await assert.rejects(store.head('abort/a', { signal: aborted }), isReason)
      await assert.rejects(keysOf(store, { prefix: 'abort/', signal: aborted }), isReason)
      await assert.rejects(store.deleteMany(['abort/a'], { signal: aborted }), isReason)

      const stop = new AbortController()
      const { signal } = stop
      const hanging = assert.rejects(store.put('abort/b', neverGoesOn(), { ifAbsent: false, signal }), isReason)
      const bytes = await store.get('abort/a', { signal })
      await assert.rejects(async () => {
        for await (const _ of bytes) stop.abort(reason)
      }, isReason)
      await hanging
      assert.deepEqual(getEventListeners(signal, 'abort'), [])
      assert.deepEqual(await keysOf(store, { prefix: 'abort/' }), ['abort/a'])
    })

    it('leaves no listener on a signal that outlives many calls', async () => {
      const { signal } = new AbortController()
      for (let count = 0; count < 30; count++) {
        await store.put('listeners/a', Buffer.from('x'), { ifAbsent: false, signal })
        await readAll(store, 'listeners/a', 0, signal)
        for await (const _ of await store.get('listeners/a', { signal })) break
        await keysOf(store, { prefix: 'listeners/', signal })
        assert.deepEqual(getEventListeners(signal, 'abort'), [])
      }
    })
  })
}

/** All bytes of an object. */
export async function readAll(store: ObjectStore, key: string, from = 0, signal = idle): Promise<Buffer> {
  const got: Uint8Array[] = []
  for await (const chunk of await store.get(key, { from, signal })) got.push(chunk)
  return Buffer.concat(got)
}

/** The keys that a listing gives. */
export async function keysOf(
  store: ObjectStore,
  options: Omit<ListOptions, 'signal'> & { readonly signal?: AbortSignal },
): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list({ signal: idle, ...options })) keys.push(key)
  return keys
}

async function rejectsWith(promise: Promise<unknown>, code: Parameters<typeof isError>[1]): Promise<void> {
  await assert.rejects(promise, (error) => isError(error, code), `expected ${code}`)
}

async function* chunks(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    await Promise.resolve()
    yield piece
  }
}

/** Ends with an error, if there is one, after that many bytes. */
async function* breaksAfter(bytes: number, error?: Error): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; left -= mebibyte) {
    await Promise.resolve()
    yield Buffer.alloc(Math.min(left, mebibyte))
  }
  if (error !== undefined) throw error
}

async function* neverGoesOn(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('the beginning')
  await new Promise(() => undefined)
}

/** Random keys that are hard to sort: short names around "/", of which none is also a folder. */
function treeOfKeys(random: () => number, count: number): string[] {
  const keys = new Set<string>()
  const folders = new Set<string>()
  while (keys.size < count) {
    const parts = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
      const length = 1 + Math.floor(random() * 2)
      return Array.from({ length }, () => '-.0Aa_'[Math.floor(random() * 6)]).join('')
    })
    const above = parts.map((_, index) => parts.slice(0, index).join('/')).slice(1)
    const key = parts.join('/')
    const isUsable = !parts.some((part) => part === '.' || part === '..') && !folders.has(key)
    if (!isUsable || above.some((folder) => keys.has(folder))) continue
    keys.add(key)
    for (const folder of above) folders.add(folder)
  }
  return [...keys]
}

/** A small generator of numbers in [0, 1), the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Bytes of buffers that are held here: what is garbage is freed in the background, some while after it was found to be. */
async function heldBytes(enough: number, serverBytes: () => number): Promise<number> {
  for (let round = 1; ; round++) {
    collectGarbage()
    const bytes = process.memoryUsage().arrayBuffers - serverBytes()
    if (bytes < enough || round === 20) return bytes
    await setImmediate()
  }
}
