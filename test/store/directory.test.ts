/** What is particular to a store in a folder: crashes, disks that go away, permissions, and what must not be created. */
import assert from 'node:assert/strict'
import { type FileHandle, mkdir, mkdtemp, open, readdir, readFile, readlink } from 'node:fs/promises'
import { chmod, rename, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { mock, test, type TestContext } from 'node:test'
import { type ErrorCode, isError, WalferryError } from '../../src/kit/errors.ts'
import { directoryError } from '../../src/store/directory-errors.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { keysOf, readAll } from '../contract/object-store.ts'

const idle = new AbortController().signal
const put = { ifAbsent: false, signal: idle }
const putIfAbsent = { ifAbsent: true, signal: idle }
const dayMs = 24 * 3600 * 1000

async function newRoot(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'walferry-directory-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  return root
}

async function failure(promise: Promise<unknown>, code: ErrorCode): Promise<WalferryError> {
  const error = await promise.then(
    () => assert.fail(`resolved; expected ${code}`),
    (thrown: unknown) => thrown,
  )
  assert.ok(isError(error, code), String(error))
  assert.equal(error.retryable, code === 'STORE_UNREACHABLE')
  return error
}

/** Every kind of call, on an object that may be there. */
const calls: readonly ((store: DirectoryStore) => Promise<unknown>)[] = [
  (store) => store.put('a/b', Buffer.from('x'), put),
  (store) => store.get('a/b', { signal: idle }),
  (store) => store.head('a/b', { signal: idle }),
  (store) => keysOf(store, { prefix: '' }),
  (store) => keysOf(store, { prefix: 'a/' }),
  (store) => store.deleteMany(['a/b'], { signal: idle }),
  (store) => store.deleteMany([], { signal: idle }),
]

test('what crashed writers left is removed by the first put, once it is a day old, and never seen', async (t) => {
  const root = await newRoot(t)
  const folder = join(root, '.walferry-tmp')
  await mkdir(folder)
  const now = Date.now()
  for (const [name, ageMs] of [
    ['old', dayMs + 60_000],
    ['young', dayMs - 60_000],
  ] as const) {
    await writeFile(join(folder, name), 'half a segm')
    await utimes(join(folder, name), new Date(now - ageMs), new Date(now - ageMs))
  }
  const store = new DirectoryStore(root)
  assert.deepEqual(await keysOf(store, { prefix: '' }), [])
  assert.deepEqual(await readdir(folder), ['old', 'young'])
  await store.put('a', Buffer.from('x'), put)
  assert.deepEqual(await readdir(folder), ['young'])
  assert.deepEqual(await keysOf(store, { prefix: '' }), ['a'])
})

test('no put leaves a temporary file, whether it succeeds or not', async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  await store.put('a', Buffer.from('x'), putIfAbsent)
  await store.put('a', Buffer.from('y'), put)
  await failure(store.put('a', Buffer.from('z'), putIfAbsent), 'KEY_EXISTS')
  await failure(store.put('a/b', Buffer.from('z'), put), 'STORE_FAILED')
  await failure(store.put('x'.repeat(300), Buffer.from('z'), put), 'BAD_INPUT')
  assert.deepEqual(await readdir(join(root, '.walferry-tmp')), [])
})

test('a large object is synced while it is written, and what a sync on the way has failed with is not passed over', async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  const pieceBytes = 1024 * 1024
  const pieces = 70
  const large = async function* (): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < pieces; n++) yield Buffer.alloc(pieceBytes, n)
  }
  const any = await open(join(root, 'any'), 'w')
  await any.close()
  const onSync = (sync: () => Promise<void>): void => {
    t.mock.restoreAll()
    t.mock.method(Object.getPrototypeOf(any), 'datasync', sync)
  }
  let syncs = 0
  onSync(async () => void syncs++)
  await store.put('large', large(), put)
  assert.equal(syncs, 2)
  assert.equal((await stat(join(root, 'large'))).size, pieces * pieceBytes)
  for (const failing of [1, 2]) {
    let count = 0
    onSync(async () => {
      if (++count === failing) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
    })
    const error = await failure(store.put('other', large(), put), 'STORE_UNREACHABLE')
    assert.match(error.message, /^could not sync other /)
  }
  assert.deepEqual(await readdir(join(root, '.walferry-tmp')), [])
  await assert.rejects(stat(join(root, 'other')))
})

test('a root that is not there is no empty archive, and is not created', async (t) => {
  const root = join(await newRoot(t), 'not-mounted')
  for (const call of calls) {
    const error = await failure(call(new DirectoryStore(root)), 'STORE_UNREACHABLE')
    assert.match(error.hint ?? '', /mkdir -p .*not-mounted/)
  }
  await assert.rejects(stat(root))
})

test('a root that goes away while the store is in use is noticed, and found again', async (t) => {
  const root = join(await newRoot(t), 'root')
  await mkdir(root)
  const store = new DirectoryStore(root)
  await store.put('a/b', Buffer.from('x'), put)
  await rename(root, `${root}-away`)
  for (const call of calls) await failure(call(store), 'STORE_UNREACHABLE')
  await assert.rejects(stat(root))
  await rename(`${root}-away`, root)
  assert.equal((await readAll(store, 'a/b')).toString(), 'x')
  await store.put('a/c', Buffer.from('x'), putIfAbsent)
})

test('a file instead of the root is no archive', async (t) => {
  const root = join(await newRoot(t), 'file')
  await writeFile(root, 'x')
  for (const call of calls) await failure(call(new DirectoryStore(root)), 'STORE_UNREACHABLE')
})

test('what the account may not do is denied', async (t) => {
  const root = await newRoot(t)
  await chmod(root, 0o755)
  const store = new DirectoryStore(root)
  await store.put('open/a', Buffer.from('x'), put)
  await store.put('secret/a', Buffer.from('x'), put)
  await chmod(join(root, 'open'), 0o755)
  await chmod(join(root, 'secret'), 0)
  // Root may do anything, so it becomes "nobody" for a moment.
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    await failure(store.put('open/b', Buffer.from('x'), put), 'STORE_DENIED')
    await failure(store.get('secret/a', { signal: idle }), 'STORE_DENIED')
    await failure(store.head('secret/a', { signal: idle }), 'STORE_DENIED')
    await failure(keysOf(store, { prefix: '' }), 'STORE_DENIED')
    // A folder that cannot hold what is asked for is not even opened.
    assert.deepEqual(await keysOf(store, { prefix: 'open/' }), ['open/a'])
    assert.deepEqual(await keysOf(store, { prefix: '', after: 'secret0' }), [])
    if (isRoot) await failure(store.deleteMany(['open/a'], { signal: idle }), 'STORE_DENIED')
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(join(root, 'secret'), 0o755)
  }
})

test('the group may read the archive, others may not', async (t) => {
  const root = await newRoot(t)
  const maskBefore = process.umask(0)
  t.after(() => process.umask(maskBefore))
  await new DirectoryStore(root).put('a/b', Buffer.from('x'), put)
  assert.equal((await stat(join(root, 'a/b'))).mode & 0o777, 0o640)
  assert.equal((await stat(join(root, 'a'))).mode & 0o777, 0o750)
})

test('an object that is cut while it is read is not taken for whole', async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  await store.put('a', Buffer.alloc(1024 * 1024), put)
  const bytes = await store.get('a', { signal: idle })
  await truncate(join(root, 'a'), 300_000)
  let got = 0
  const reading = (async () => {
    for await (const chunk of bytes) got += chunk.length
  })()
  await failure(reading, 'STORE_UNREACHABLE')
  assert.equal(got, 300_000)
})

test('an object that is replaced while it is read is read as it was', async (t) => {
  const store = new DirectoryStore(await newRoot(t))
  await store.put('a', Buffer.from('old'), put)
  const bytes = await store.get('a', { signal: idle })
  await store.put('a', Buffer.from('newer'), put)
  const got: Uint8Array[] = []
  for await (const chunk of bytes) got.push(chunk)
  assert.equal(Buffer.concat(got).toString(), 'old')
})

test('what lies in the root under names that are no keys is passed over; links are followed', async (t) => {
  const root = await newRoot(t)
  const other = await newRoot(t)
  await writeFile(join(other, 'b'), 'x')
  await mkdir(join(root, 'lost+found'))
  await writeFile(join(root, 'lost+found', 'a'), 'x')
  await writeFile(join(root, 'a b'), 'x')
  await symlink(other, join(root, 'linked'))
  await symlink(join(other, 'b'), join(root, 'file'))
  await symlink(join(other, 'none'), join(root, 'broken'))
  const store = new DirectoryStore(root)
  assert.deepEqual(await keysOf(store, { prefix: '' }), ['file', 'linked/b'])
  assert.equal(await store.head('broken', { signal: idle }), null)
})

test('a listing with a limit finds what is behind more empty folders than it holds at once', async (t) => {
  const root = await newRoot(t)
  const names = Array.from({ length: 2200 }, (_, index) => `empty-${1000 + index}`)
  await Promise.all(names.map((name) => mkdir(join(root, name))))
  const store = new DirectoryStore(root)
  await store.put('empty-2500/a', Buffer.from('x'), put)
  await store.put('last', Buffer.from('x'), put)
  assert.deepEqual(await keysOf(store, { prefix: 'e', limit: 1 }), ['empty-2500/a'])
  assert.deepEqual(await keysOf(store, { prefix: '', limit: 5 }), ['empty-2500/a', 'last'])
})

test('a folder that a deletion leaves empty is removed, and never the root', async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  await store.put('tail/1/a', Buffer.from('x'), put)
  await store.put('tail/2/a', Buffer.from('x'), put)
  await store.deleteMany(['tail/1/a', 'tail/3/none'], { signal: idle })
  assert.deepEqual(await readdir(join(root, 'tail')), ['2'])
  await store.deleteMany(['tail/2/a'], { signal: idle })
  assert.deepEqual(await readdir(root), ['.walferry-tmp'])
  await store.put('tail/1/a', Buffer.from('x'), put)
  assert.deepEqual(await keysOf(store, { prefix: '' }), ['tail/1/a'])
})

test('of two that store and delete in one folder, neither pulls it from under the other', async (t) => {
  const root = await newRoot(t)
  const worker = async (name: string): Promise<void> => {
    const store = new DirectoryStore(root)
    for (let round = 0; round < 150; round++) {
      await store.put(`tail/1/${name}`, Buffer.from(String(round)), round % 2 === 0 ? put : putIfAbsent)
      assert.equal((await readAll(store, `tail/1/${name}`)).toString(), String(round))
      await store.deleteMany([`tail/1/${name}`], { signal: idle })
    }
  }
  await Promise.all([worker('a'), worker('b')])
  assert.deepEqual(await readdir(root), ['.walferry-tmp'])
  assert.deepEqual(await readdir(join(root, '.walferry-tmp')), [])
})

/** Paths in the order in which they are synced, and whether the object could be seen by then. */
async function watchSyncs(
  root: string,
  key: string,
  run: () => Promise<unknown>,
  fail: (path: string) => boolean = () => false,
): Promise<string[]> {
  const syncs: string[] = []
  const probe = await open(root, 'r')
  const handles: unknown = Object.getPrototypeOf(probe)
  await probe.close()
  assert.ok(isFileHandle(handles))
  const original: unknown = Reflect.get(handles, 'sync')
  assert.ok(typeof original === 'function')
  const mocked = mock.method(handles, 'sync', async function sync(this: FileHandle): Promise<void> {
    const path = (await readlink(`/proc/self/fd/${this.fd}`)).replace(root, '')
    const isSeen = await stat(join(root, key)).then(
      () => 'seen',
      () => 'unseen',
    )
    const name = path.startsWith('/.walferry-tmp/') ? 'file' : path === '' ? '/' : path
    syncs.push(`${name} ${isSeen}`)
    if (fail(name)) throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' })
    await Reflect.apply(original, this, [])
  })
  try {
    await run()
  } finally {
    mocked.mock.restore()
  }
  return syncs
}

function isFileHandle(value: unknown): value is FileHandle {
  return typeof value === 'object' && value !== null && 'sync' in value
}

const needsProc = process.platform === 'linux' ? {} : { skip: 'looks at open files in /proc' }

test('the bytes and the folders above are synced before an object is seen, its folder after', needsProc, async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  const syncs = await watchSyncs(root, 'a/b/c', () => store.put('a/b/c', Buffer.from('x'), putIfAbsent))
  assert.deepEqual(syncs, ['file unseen', '/ unseen', '/a unseen', '/a/b seen'])
  const second = await watchSyncs(root, 'a/b/d', () => store.put('a/b/d', Buffer.from('x'), put))
  assert.deepEqual(second.slice(0, 2), ['file unseen', '/a/b seen'])
})

test('who hears that a key is taken may rely on the object: its folder was synced', needsProc, async (t) => {
  const root = await newRoot(t)
  // As another writer leaves it between its link and its sync.
  await mkdir(join(root, 'a'))
  await writeFile(join(root, 'a/b'), 'x')
  const store = new DirectoryStore(root)
  const syncs = await watchSyncs(root, 'a/b', () =>
    failure(store.put('a/b', Buffer.from('y'), putIfAbsent), 'KEY_EXISTS'),
  )
  assert.deepEqual(syncs, ['file seen', '/ seen', '/a seen'])
})

test('an object whose bytes could not be synced is not stored', needsProc, async (t) => {
  const root = await newRoot(t)
  const store = new DirectoryStore(root)
  const storing = (): Promise<unknown> => failure(store.put('a/b', Buffer.from('x'), put), 'STORE_UNREACHABLE')
  await watchSyncs(root, 'a/b', storing, (path) => path === 'file')
  assert.deepEqual(await keysOf(store, { prefix: '' }), [])
  assert.deepEqual(await readdir(join(root, '.walferry-tmp')), [])
  await watchSyncs(root, 'a/b', storing, (path) => path === '/')
  assert.deepEqual(await keysOf(store, { prefix: '' }), [])
  // The next attempt does not take for durable what failed.
  const syncs = await watchSyncs(root, 'a/b', () => store.put('a/b', Buffer.from('x'), put))
  assert.deepEqual(syncs.slice(0, 3), ['file unseen', '/ unseen', '/a seen'])
})

const codes: readonly (readonly [string, ErrorCode])[] = [
  ['ENOSPC', 'STORE_UNREACHABLE'],
  ['EDQUOT', 'STORE_UNREACHABLE'],
  ['EIO', 'STORE_UNREACHABLE'],
  ['ESTALE', 'STORE_UNREACHABLE'],
  ['EMFILE', 'STORE_UNREACHABLE'],
  ['EACCES', 'STORE_DENIED'],
  ['EPERM', 'STORE_DENIED'],
  ['EROFS', 'STORE_DENIED'],
  ['ENOTSUP', 'STORE_FAILED'],
  ['EXDEV', 'STORE_FAILED'],
  ['ENAMETOOLONG', 'BAD_INPUT'],
]
for (const [system, code] of codes) {
  test(`${system} means ${code}`, async () => {
    const cause = Object.assign(new Error(system), { code: system })
    const error = directoryError(cause, 'write a', '/archive')
    assert.ok(error instanceof WalferryError)
    assert.equal((await failure(Promise.reject(error), code)).cause, cause)
  })
}

test('an error that is not the file system’s is not explained away', () => {
  for (const error of [
    new TypeError('a mistake of ours'),
    Object.assign(new TypeError('bad argument'), { code: 'ERR_INVALID_ARG_TYPE' }),
  ]) {
    assert.equal(directoryError(error, 'write a', '/archive'), error)
  }
})

test('the store in a folder does not load the AWS SDK', async () => {
  const seen = new Set<string>()
  const visit = async (file: string): Promise<void> => {
    if (seen.has(file)) return
    seen.add(file)
    for (const [, from = ''] of (await readFile(file, 'utf8')).matchAll(/(?:from|import) '([^']+)'/g)) {
      if (from.startsWith('.')) await visit(resolve(dirname(file), from))
      else assert.ok(from.startsWith('node:'), `${file} imports ${from}`)
    }
  }
  const store = resolve(import.meta.dirname, '../../src/store')
  await visit(join(store, 'directory.js'))
  await visit(join(store, 'object-store.js'))
  assert.ok(seen.size > 5, [...seen].join())
})
