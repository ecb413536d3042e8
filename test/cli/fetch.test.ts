/** `walferry-fetch`: what it answers, and with which exit code; and as PostgreSQL runs it, as a process. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { sleep } from '../../src/kit/abort.ts'
import { DataFolder } from '../restore/data-folder.ts'
import { chunkFolder, MadeArchive, nameOf } from '../restore/made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from '../restore/made-wal.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { runHere } from '../support/run-here.ts'
import { type S3Server, startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, program, runFetch, startProgram } from '../support/walferry.ts'

const atOnce = ['--retry-for', '0']
const wal = new MadeWal().fillTo(7 * segmentBytes + 100_000, 'a')
const whole = nameOf(1, 1)
const hole = nameOf(1, 2)
const damaged = nameOf(1, 3)
const tail = nameOf(1, 7)
const absent = nameOf(1, 8)

/** Segment 1 whole, 2 missing, 3 damaged, 4 to 6 whole, 7 a tail. */
async function usualArchive(secret: EncryptionKey | null = null): Promise<MadeArchive> {
  const archive = new MadeArchive(new MemoryStore(), secret)
  archive.identity(wal)
  for (const segno of [1, 4, 5, 6]) await archive.segment(wal, segno)
  archive.store.set(`wal_005/${damaged}.lz4`, Buffer.from('x'))
  await archive.chunk(wal, 7, 0, wal.end % segmentBytes)
  return archive
}

async function inFolder(t: TestContext, { store }: MadeArchive): Promise<string> {
  const folder = await tempFolder(t)
  for (const key of store.keys) {
    await mkdir(dirname(join(folder, key)), { recursive: true })
    await writeFile(join(folder, key), store.peek(key))
  }
  return folder
}

async function inS3(t: TestContext, { store }: MadeArchive): Promise<{ s3: S3Server; options: string[] }> {
  const s3 = await startS3Server()
  t.after(() => s3.stop())
  for (const key of store.keys) s3.objects.set(`some/prefix/${key}`, store.peek(key))
  return { s3, options: ['--store', `s3://${s3.bucket}/some/prefix`, '--s3-endpoint', s3.endpoint] }
}

async function ask(data: DataFolder, name: string, options: readonly string[], env = {}): Promise<Finished> {
  const before = await readdir(data.pgWal)
  const finished = await runHere(['fetch', name, data.dest, ...options], { env })
  const added = (await readdir(data.pgWal)).filter((one) => !before.includes(one))
  assert.deepEqual(added, finished.code === 0 ? ['RECOVERYXLOG'] : [], finished.stderr)
  assert.equal(finished.stdout, '')
  return finished
}

function given(key: string): Readonly<Record<string, string>> {
  return { WALG_LIBSODIUM_KEY: key, WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' }
}

describe('the exit code of walferry-fetch', () => {
  test('is 0 for what was served, 1 for what is absent, and told on standard error for all else', async (t) => {
    const store = ['--store', await inFolder(t, await usualArchive()), ...atOnce]
    for (const [name, segno] of [
      [whole, 1],
      [tail, 7],
    ] as const) {
      const data = await DataFolder.make(t, systemIdentifier)
      const { code, stdout } = await runFetch([name, data.dest, ...store], { signal: deadline() })
      assert.deepEqual([code, stdout], [0, ''])
      assert.ok((await readFile(data.dest)).equals(wal.segment(segno)))
    }
    const refused = await runFetch([hole, join(await tempFolder(t), 'dest'), ...store], { signal: deadline() })
    assert.equal(refused.code, 200, refused.stderr)
    const data = await DataFolder.make(t, systemIdentifier)
    const nothing = await ask(data, absent, store)
    assert.deepEqual([nothing.code, nothing.stderr], [1, ''])
    const missing = await ask(data, hole, store)
    assert.equal(missing.code, 200)
    assert.match(
      missing.stderr,
      /^error: .*lacks 000000010000000000000002.*\[ARCHIVE_HOLE\]\nhint: {2}WAL is good up to 0\/200000/,
    )
    const broken = await ask(data, damaged, store)
    assert.equal(broken.code, 201)
    assert.match(broken.stderr, /^error: .*\[ARCHIVE_DAMAGED\]\nhint: {2}WAL is good up to 0\/300000\. /)
  })

  test('is what the options for the end of a recovery say, and a backlog is 204', async (t) => {
    const archive = await usualArchive()
    const store = ['--store', await inFolder(t, archive), ...atOnce]
    archive.backlog('walferry')
    const behind = ['--store', await inFolder(t, archive), ...atOnce]
    const data = await DataFolder.make(t, systemIdentifier)
    const ended = await ask(data, hole, [...store, '--end-at-hole'])
    assert.equal(ended.code, 1)
    assert.match(ended.stderr, /: not there: it is a hole, taken for the end; given up is wal_005\/0{7}10{15}3\.lz4\n$/)
    assert.equal((await ask(data, tail, [...store, '--no-tail'])).code, 1)
    const refused = await ask(data, absent, behind)
    assert.equal(refused.code, 204)
    assert.match(refused.stderr, /^error: .* receiver on h1 .*\[ARCHIVE_BACKLOG\]\nhint: .*--ignore-backlog\.\n$/)
    assert.equal((await ask(data, absent, [...behind, '--ignore-backlog'])).code, 1)
    assert.equal((await ask(data, absent, [...behind, '--standby'])).code, 1)
  })

  test('is 200 for a history file that hides a newer timeline, and 1 for a standby, which is told', async (t) => {
    const archive = await usualArchive()
    await archive.history(3, '1\t0/700100\tno recovery target specified\n')
    const store = ['--store', await inFolder(t, archive), ...atOnce]
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await ask(data, '00000002.history', store)).code, 200)
    const standby = await ask(data, '00000002.history', [...store, '--standby'])
    assert.equal(standby.code, 1)
    assert.match(standby.stderr, /^error: .*\[ARCHIVE_HOLE\]\nhint: .*recovery_target_timeline = '3'/)
  })

  test('is 202 for a conflict and 203 for an archive of others, also in standby mode', async (t) => {
    const archive = await usualArchive()
    archive.store.set(`${chunkFolder(1, 7)}00000000-00000100`, Buffer.alloc(256))
    const store = ['--store', await inFolder(t, archive), ...atOnce]
    const empty = ['--store', await tempFolder(t), ...atOnce]
    const data = await DataFolder.make(t, systemIdentifier)
    const stranger = await DataFolder.make(t, systemIdentifier + 1n)
    for (const mode of [[], ['--standby', '--on-outage', 'absent']]) {
      assert.equal((await ask(data, tail, [...store, ...mode])).code, 202)
      assert.equal((await ask(data, damaged, [...store, ...mode])).code, 201)
      assert.equal((await ask(stranger, whole, [...store, ...mode])).code, 203)
      assert.equal((await ask(stranger, absent, [...store, ...mode])).code, 203)
      assert.equal((await ask(data, absent, [...empty, ...mode])).code, 203)
    }
  })

  test('is 205 for a missing, another or a needless key, whatever is asked for, and the key is not told', async (t) => {
    const key = Buffer.alloc(32, 9).toString('hex')
    const encrypted = await usualArchive(new EncryptionKey(Buffer.from(key, 'hex')))
    const store = ['--store', await inFolder(t, encrypted), ...atOnce]
    const plain = ['--store', await inFolder(t, await usualArchive()), ...atOnce]
    const data = await DataFolder.make(t, systemIdentifier)
    for (const [name, code] of [
      [whole, 0],
      [absent, 1],
      [damaged, 201],
      [tail, 0],
    ] as const) {
      const served = await ask(data, name, store, given(key))
      assert.equal(served.code, code, served.stderr)
      await rm(data.dest, { force: true })
    }
    const standby = ['--standby', '--on-outage', 'absent']
    for (const [options, env, said] of [
      [store, {}, /is encrypted, and no key was given/],
      [store, given('ab'.repeat(32)), /is encrypted, and another key was given/],
      [plain, given(key), /is not encrypted, and a key was given/],
    ] as const) {
      for (const [name, mode] of [
        [whole, []],
        [tail, standby],
        [absent, []],
        ['00000002.history', standby],
      ] as const) {
        const { code, stderr } = await ask(data, name, [...options, ...mode], env)
        assert.equal(code, 205, `${name}: ${stderr}`)
        assert.match(stderr, said)
        assert.match(stderr, /\[ENCRYPTION_KEY\]\nhint: /)
        assert.ok(!stderr.includes(key.slice(0, 10)) && !stderr.includes('abababab'), stderr)
      }
    }
    const unusable = await ask(data, whole, [...store, '--encryption-key-file', '/no/such/file'])
    assert.deepEqual([unusable.code, /\[BAD_INPUT\]/.test(unusable.stderr)], [126, true])
  })

  for (const { mode, signalFile, outage, missing } of [
    { mode: [], signalFile: false, outage: 126, missing: 200 },
    { mode: ['--standby'], signalFile: false, outage: 1, missing: 1 },
    { mode: [], signalFile: true, outage: 1, missing: 1 },
    { mode: ['--no-standby'], signalFile: true, outage: 126, missing: 200 },
    { mode: ['--on-outage', 'fail'], signalFile: true, outage: 126, missing: 200 },
    { mode: ['--on-outage', 'absent'], signalFile: false, outage: 1, missing: 200 },
    { mode: ['--on-outage', 'absent'], signalFile: true, outage: 1, missing: 1 },
  ]) {
    const how = `with ${mode.join(' ') || 'no option'}${signalFile ? ' and a standby.signal' : ''}`
    test(`${how} is ${outage} while the store is away, and ${missing} for a hole`, async (t) => {
      const store = await inFolder(t, await usualArchive())
      const data = await DataFolder.make(t, systemIdentifier)
      if (signalFile) await writeFile(join(data.path, 'standby.signal'), '')
      const away = await ask(data, absent, ['--store', join(store, 'not-mounted'), ...atOnce, ...mode])
      assert.equal(away.code, outage, away.stderr)
      assert.match(away.stderr, /^error: .*\[STORE_UNREACHABLE\]/)
      const lacking = await ask(data, hole, ['--store', store, ...atOnce, ...mode])
      assert.equal(lacking.code, missing, lacking.stderr)
      assert.match(lacking.stderr, /^error: .*\[ARCHIVE_HOLE\]/)
    })
  }

  test('is 1 for an ancestor, too, after an outage that a standby was not told, until its own timeline is answered', async (t) => {
    const archive = await usualArchive()
    await archive.history(2, '1\t0/600000\tno recovery target specified\n')
    const second = new MadeWal({ timeline: 2, firstSegno: 6 }).fillTo(7 * segmentBytes, 'b')
    const store = await inFolder(t, archive)
    const data = await DataFolder.make(t, systemIdentifier)
    await writeFile(join(data.path, 'standby.signal'), '')
    await writeFile(join(data.path, 'postmaster.pid'), `71234\n${data.path}\n1769860800\n5432\n`)
    const fetch = async (name: string, folder: string): Promise<Finished> =>
      await runHere(['fetch', name, data.dest, '--store', folder, ...atOnce])
    const parent = nameOf(1, 6)
    assert.equal((await fetch(nameOf(2, 6), join(store, 'not-mounted'))).code, 1)
    const held = await fetch(parent, store)
    assert.equal(held.code, 1, held.stderr)
    assert.match(held.stderr, /^walferry fetch: 0{7}10{15}6: answering "not there", until .* for 0{7}20{15}6\n$/)
    // It begins anew, and its own timeline's is there by now.
    await archive.segment(second, 6, nameOf(2, 6))
    const whole = await inFolder(t, archive)
    const answered = await fetch(nameOf(2, 6), whole)
    assert.equal(answered.code, 0, answered.stderr)
    assert.equal((await fetch(parent, whole)).code, 0)
    assert.deepEqual(await readdir(data.pgWal), ['RECOVERYXLOG'])
  })

  test('is 126 for every command line and variable that cannot be right', async (t) => {
    const store = await inFolder(t, await usualArchive())
    const data = await DataFolder.make(t, systemIdentifier)
    const lines: readonly (readonly string[])[] = [
      [],
      [absent],
      ['--store', store],
      ['--store', store, absent, data.dest],
      [absent, data.dest],
      [absent, data.dest, '--store', ''],
      [absent, data.dest, '--store', store, '--store', store],
      [absent, data.dest, '--store', 'gs://bucket/prefix'],
      [absent, data.dest, '--store', 's3://'],
      [absent, data.dest, '--store', store, '--sotre', store],
      [absent, data.dest, '--store', store, 'more'],
      [absent, data.dest, '--store', store, '--retry-for', 'soon'],
      [absent, data.dest, '--store', store, '--on-outage', 'maybe'],
      [absent, data.dest, '--store', store, '--standby=maybe'],
      ['%f', '%p', '--store', store],
      [absent, join(data.path, 'no-such-folder', 'RECOVERYXLOG'), '--store', store],
    ]
    for (const line of lines) {
      const { code, stderr } = await runHere(['fetch', ...line])
      assert.equal(code, 126, `${line.join(' ')}: ${stderr}`)
      assert.match(stderr, /^error: /)
    }
    const env = { WALFERRY_STORE: store, WALFERRY_RETRY_FOR: 'soon' }
    assert.equal((await ask(data, absent, [], env)).code, 126)
    assert.equal((await ask(data, absent, [], { ...env, WALFERRY_RETRY_FOR: '' })).code, 1)
    assert.equal((await ask(data, absent, atOnce, env)).code, 1)
  })

  test('is 126 if the file cannot be put at DEST, and no other file is left', async (t) => {
    const store = await inFolder(t, await usualArchive())
    const data = await DataFolder.make(t, systemIdentifier)
    await mkdir(data.dest)
    const { code, stderr } = await ask(data, whole, ['--store', store])
    assert.equal(code, 126, stderr)
  })
})

test('paths may be relative to the working directory, as those of PostgreSQL are', async (t) => {
  const store = await inFolder(t, await usualArchive())
  const data = await DataFolder.make(t, systemIdentifier)
  const stranger = await DataFolder.make(t, systemIdentifier + 1n)
  const options = ['--store', `file://${store}`, ...atOnce]
  const inFolderOf = async (one: DataFolder, dest: string): Promise<number | null> =>
    (await runFetch([whole, dest, ...options], { signal: deadline(), cwd: one.path })).code
  assert.equal(await inFolderOf(data, 'pg_wal/RECOVERYXLOG'), 0)
  assert.ok((await readFile(data.dest)).equals(wal.segment(1)))
  assert.equal(await inFolderOf(stranger, 'pg_wal/RECOVERYXLOG'), 203)
  // pg_rewind calls from elsewhere: what counts lies beside DEST.
  assert.equal(await inFolderOf(stranger, data.dest), 0)
  assert.equal(await inFolderOf(data, stranger.dest), 203)
})

test('pg_wal may be a link: pg_control lies beside the link, not beside what it leads to', async (t) => {
  const store = ['--store', await inFolder(t, await usualArchive()), ...atOnce]
  const disk = await tempFolder(t)
  for (const [system, code] of [
    [systemIdentifier, 0],
    [systemIdentifier + 1n, 203],
  ] as const) {
    const data = await DataFolder.make(t, system)
    await rm(data.pgWal, { recursive: true, maxRetries: 10 })
    await symlink(disk, data.pgWal)
    assert.equal((await ask(data, whole, store)).code, code)
  }
})

describe('with S3', () => {
  test('the same comes out as with a folder', async (t) => {
    const { s3, options } = await inS3(t, await usualArchive())
    const data = await DataFolder.make(t, systemIdentifier)
    for (const [name, code] of [
      [absent, 1],
      [hole, 200],
      [damaged, 201],
      [tail, 0],
    ] as const) {
      const finished = await ask(data, name, [...options, ...atOnce], s3.environment)
      assert.equal(finished.code, code, finished.stderr)
    }
    assert.ok((await readFile(data.dest)).equals(wal.segment(7)))
  })

  test('a whole segment is read with two requests, whether the SDK is needed to find the keys or not', async (t) => {
    const { s3, options } = await inS3(t, await usualArchive())
    const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '', ...others } = s3.environment
    const file = join(await tempFolder(t), 'credentials')
    const text = `aws_access_key_id = ${AWS_ACCESS_KEY_ID}\naws_secret_access_key = ${AWS_SECRET_ACCESS_KEY}\n`
    await writeFile(file, `[archive]\n${text}`)
    const profile = { ...others, AWS_PROFILE: 'archive', AWS_SHARED_CREDENTIALS_FILE: file }
    const agents: (boolean | undefined)[] = []
    s3.inject({ kind: 'slow', latencyMs: 0 }, ({ headers }) => {
      agents.push(headers['user-agent'] === 'walferry')
      return false
    })
    for (const [env, isPlain] of [
      [s3.environment, true],
      [profile, false],
    ] as const) {
      const data = await DataFolder.make(t, systemIdentifier)
      s3.log.length = 0
      agents.length = 0
      const finished = await runFetch([whole, data.dest, ...options], { signal: deadline(), env })
      assert.equal(finished.code, 0, finished.stderr)
      assert.deepEqual(
        s3.log.map(({ operation }) => operation),
        ['GetObject', 'GetObject'],
      )
      assert.deepEqual(agents, [isPlain, isPlain], 'whether the SDK has asked')
      assert.ok((await readFile(data.dest)).equals(wal.segment(1)))
    }
  })

  test('refused credentials and a missing bucket are 126, at once, also in standby mode', async (t) => {
    const { s3, options } = await inS3(t, await usualArchive())
    const data = await DataFolder.make(t, systemIdentifier)
    for (const mode of [[], ['--standby']]) {
      const wrong = { ...s3.environment, AWS_SECRET_ACCESS_KEY: 'wrong' }
      const refused = await ask(data, absent, [...options, ...mode], wrong)
      assert.equal(refused.code, 126)
      assert.match(refused.stderr, /^error: .*\[STORE_DENIED\]\nhint: {2}Check the credentials/)
      const elsewhere = ['--store', 's3://no-such-bucket/some/prefix', '--s3-endpoint', s3.endpoint]
      const missing = await ask(data, absent, [...elsewhere, ...mode], s3.environment)
      assert.equal(missing.code, 126)
      assert.match(missing.stderr, /^error: .*\[STORE_FAILED\]/)
    }
  })

  test('a refused connection is tried again, for as long as --retry-for says', async (t) => {
    const { s3, options } = await inS3(t, await usualArchive())
    await s3.refuse()
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await ask(data, absent, [...options, ...atOnce], s3.environment)).code, 126)
    const running = startProgram(program('walferry-fetch'), [tail, data.dest, ...options], { env: s3.environment })
    try {
      while (!/^walferry fetch: 0{7}10{15}7: .*; trying again\n/.test(running.stderr)) await sleep(10, deadline())
      await s3.accept()
      assert.deepEqual(await running.exit, { code: 0, signal: null }, running.stderr)
    } finally {
      running.kill()
    }
    assert.ok((await readFile(data.dest)).equals(wal.segment(7)))
  })

  test('SIGTERM to the command, as at a fast shutdown, ends it and leaves no file', async (t) => {
    const { s3, options } = await inS3(t, await usualArchive())
    s3.inject({ kind: 'cutBody', afterBytes: 100, how: 'stall' }, ({ operation, key }) => {
      return operation === 'GetObject' && key.includes('wal_005/')
    })
    const data = await DataFolder.make(t, systemIdentifier)
    const running = startProgram(program('walferry-fetch'), [whole, data.dest, ...options], { env: s3.environment })
    try {
      while ((await readdir(data.pgWal)).length === 0) await sleep(10, deadline())
      running.sendToAll('SIGTERM')
      const exit = await running.exit
      assert.ok(exit.signal === 'SIGTERM' || exit.code === 143, JSON.stringify(exit))
      assert.deepEqual(await readdir(data.pgWal), [])
    } finally {
      running.kill()
    }
  })
})
