/** `walferry push` as PostgreSQL runs it: a process, its arguments and its exit code. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { nativeZstd } from '../../src/archive/codecs/zst-native.ts'
import { openLikeWalG } from '../archive/encryption/native.ts'
import { nameOf } from '../restore/made-archive.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'
import { deadline } from '../support/postgres.ts'
import { startS3Server } from '../support/s3-server.ts'
import { runHere } from '../support/run-here.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, program, runProgram, startProgram } from '../support/walferry.ts'

const wal = new MadeWal().fillTo(2 * segmentBytes + 200_000, 'a')
const other = new MadeWal().fillTo(2 * segmentBytes, 'other')
const whole = nameOf(1, 1)
const open = nameOf(1, 2)

interface Server {
  readonly data: string
  readonly archive: string
  readonly push: (args: readonly string[], env?: Record<string, string>) => Promise<Finished>
}

/** A data directory with two segments, and an empty archive. Paths are relative to it, as PostgreSQL gives them. */
async function makeServer(t: TestContext): Promise<Server> {
  const data = await tempFolder(t)
  const archive = await tempFolder(t)
  await mkdir(join(data, 'pg_wal'))
  await writeFile(join(data, 'pg_wal', whole), wal.segment(1))
  await writeFile(join(data, 'pg_wal', open), wal.segment(2))
  return {
    data,
    archive,
    push: (args, env = {}) => runHere(['push', ...args], { cwd: data, env }),
  }
}

test('the exit code of push is 0 for what is stored, with nothing said, and 0 again', async (t) => {
  const { archive, push } = await makeServer(t)
  for (let round = 0; round < 2; round++) {
    const { code, stdout, stderr } = await push([`pg_wal/${whole}`, '--store', archive])
    assert.deepEqual([code, stdout, stderr], [0, '', ''])
  }
  assert.deepEqual(await readdir(join(archive, 'wal_005')), [`${whole}.lz4`])
  const told = await push([`pg_wal/${whole}`], { WALFERRY_STORE: archive, WALFERRY_LOG_LEVEL: 'debug' })
  assert.deepEqual([told.code, told.stderr], [0, `walferry push: pg_wal/${whole} is at wal_005/${whole}.lz4\n`])
})

test('the exit code of push is 0 for a segment that is not complete, with a warning', async (t) => {
  const { archive, push } = await makeServer(t)
  const { code, stderr } = await push([`pg_wal/${open}`, '--store', archive])
  assert.equal(code, 0)
  assert.match(
    stderr,
    /^warning: pg_wal\/\S+2 is not complete .* stored under its own name, but as wal_005\/\S+\.lz4\n$/,
  )
  assert.deepEqual(await readdir(join(archive, 'wal_005')), [`${open}.partial.lz4`])
})

test('the exit code of push is 1 for every command line that cannot be right, and nothing is touched', async (t) => {
  const { archive, push } = await makeServer(t)
  const path = `pg_wal/${whole}`
  const store = ['--store', archive]
  for (const args of [
    [],
    [path],
    [...store, path],
    [path, ...store, '--no-such-flag'],
    [path, ...store, path],
    [path, ...store, '--compression', 'lzo'],
    [path, ...store, ...store],
    [path, ...store, '--help'],
    [path, '--store', 'gs://bucket'],
    ['pg_wal/xlogtemp.1', ...store],
    ['pg_wal/', ...store],
    ['', ...store],
  ]) {
    const { code, stderr } = await push(args)
    assert.equal(code, 1, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, /^error: .*\[BAD_INPUT\]\n/s)
  }
  const elsewhere = ['--store', archive, 'push', path]
  const { code } = await runProgram(program('walferry'), elsewhere, { signal: deadline(), cwd: archive })
  assert.equal(code, 1)
  assert.deepEqual(await readdir(archive), [])
})

test('the exit code of push is 1 for a conflict, a foreign archive, and a store that is away', async (t) => {
  const { data, archive, push } = await makeServer(t)
  const args = [`pg_wal/${whole}`, '--store', archive]
  assert.equal((await push(args)).code, 0)
  const before = await readFile(join(archive, 'wal_005', `${whole}.lz4`))

  await writeFile(join(data, 'pg_wal', whole), other.segment(1))
  const conflict = await push(args)
  assert.equal(conflict.code, 1)
  assert.match(conflict.stderr, /^error: .*\[ARCHIVE_CONFLICT\]\nhint: /)

  const foreign = new MadeWal({ systemIdentifier: 42n }).fillTo(2 * segmentBytes, 'a')
  await writeFile(join(data, 'pg_wal', whole), foreign.segment(1))
  const refused = await push(args)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^error: .*\[ARCHIVE_FOREIGN\]\nhint: /)
  assert.deepEqual(await readFile(join(archive, 'wal_005', `${whole}.lz4`)), before)

  const away = await push([`pg_wal/${whole}`, '--store', join(archive, 'not-mounted')])
  assert.equal(away.code, 1)
  assert.match(away.stderr, /^error: .*\[STORE_UNREACHABLE\]\n/)
})

test('a push with the key of the archive is stored encrypted, and again 0; without it, the answer is 1', async (t) => {
  const { archive, push } = await makeServer(t)
  const args = [`pg_wal/${whole}`, '--store', archive]
  const key = Buffer.alloc(32, 9)
  const env = { WALG_LIBSODIUM_KEY: key.toString('hex'), WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' }
  for (let round = 0; round < 2; round++) {
    const { code, stderr } = await push(args, env)
    assert.deepEqual([code, stderr], [0, ''])
  }
  const path = join(archive, 'wal_005', `${whole}.lz4`)
  const stored = await readFile(path)
  assert.ok(openLikeWalG(stored, key).subarray(0, 4).equals(Buffer.from('04224d18', 'hex')))
  for (const other of [{}, { ...env, WALG_LIBSODIUM_KEY: 'ab'.repeat(32) }]) {
    const { code, stderr } = await push(args, other)
    assert.equal(code, 1)
    assert.match(stderr, /^error: .*\[ENCRYPTION_KEY\]\nhint: /)
  }
  const short = await push(args, { ...env, WALG_LIBSODIUM_KEY: 'abcd' })
  assert.equal(short.code, 1)
  assert.match(short.stderr, /^error: WALG_LIBSODIUM_KEY: .*64 hexadecimal digits.*\[BAD_INPUT\]\nhint: /)
  assert.deepEqual(await readFile(path), stored)
})

// Only Linux tells which process is whose child.
const onLinux = { skip: process.platform !== 'linux' && 'it needs Linux' }

test('a push into S3 that is asked to end stores nothing, and is answered with 1', onLinux, async (t) => {
  const { data } = await makeServer(t)
  const s3 = await startS3Server()
  t.after(() => s3.stop())
  s3.inject({ kind: 'noAnswer', how: 'stall' }, (request) => request.operation === 'PutObject')
  const begun = s3.arrival((request) => request.operation === 'PutObject')
  const store = ['--store', `s3://${s3.bucket}/p`, '--s3-endpoint', s3.endpoint]
  const args = ['push', `pg_wal/${whole}`, ...store]
  const push = startProgram(program('walferry'), args, { cwd: data, env: s3.environment })
  await begun
  // Node.js alone gets it: the group's leader is the script, whose child it is.
  const children = await readFile(`/proc/${push.pid}/task/${push.pid}/children`, 'utf8')
  process.kill(Number(children.trim()), 'SIGTERM')
  assert.deepEqual(await push.exit, { code: 1, signal: null })
  assert.match(push.stderr, /^error: stopped by SIGTERM/)
  assert.deepEqual([...s3.objects.keys()], [])
})

test('push and receive write zstd, or say at the start that this Node.js cannot', async (t) => {
  const { data, archive, push } = await makeServer(t)
  const zstd = ['--store', archive, '--compression', 'zstd']
  const pushed = await push([`pg_wal/${whole}`, ...zstd])
  if (nativeZstd() !== null) {
    assert.equal(pushed.code, 0, pushed.stderr)
    assert.deepEqual(await readdir(join(archive, 'wal_005')), [`${whole}.zst`])
    return
  }
  const spool = join(data, 'spool')
  const line = ['receive', '--url', 'postgres://nobody@127.0.0.1:1/', '--spool', spool, ...zstd]
  const received = await runProgram(program('walferry'), line, { signal: deadline() })
  for (const { code, stderr } of [pushed, received]) {
    assert.equal(code, 1)
    assert.match(stderr, /^error: Node\.js \S+ cannot write zstd \[BAD_INPUT\]\nhint: {2}Use Node\.js 22\.15 or later/)
  }
  assert.deepEqual(await readdir(archive), [])
  assert.ok(!(await readdir(data)).includes('spool'))
})

test('none stores the bytes as they are, and a .partial with lz4', async (t) => {
  const { data, archive, push } = await makeServer(t)
  await writeFile(join(data, 'pg_wal', `${open}.partial`), wal.segment(2))
  for (const name of [whole, `${open}.partial`]) {
    const { code, stderr } = await push([`pg_wal/${name}`, '--store', archive, '--compression', 'none'])
    assert.deepEqual([code, stderr], [0, ''])
  }
  assert.deepEqual((await readdir(join(archive, 'wal_005'))).toSorted(), [whole, `${open}.partial.lz4`])
  assert.ok((await readFile(join(archive, 'wal_005', whole))).equals(wal.segment(1)))
})
