/** What walferry-fetch serves without Node.js, and when: each call as PostgreSQL makes it, with its own arguments. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { keyOptions } from '../../src/cli/open-store.ts'
import { entryOf, variableOf } from '../../src/cli/options.ts'
import { DataFolder } from '../restore/data-folder.ts'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from '../restore/made-wal.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { backgroundOf, folderName, readySegments, until, waitUntilGone } from '../support/prefetching.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, program, runFetch, runProgram } from '../support/walferry.ts'

const wal = new MadeWal().fillTo(6 * segmentBytes + 100_000, 'a')
const otherWal = new MadeWal().fillTo(6 * segmentBytes + 100_000, 'b')
const atOnce = ['--retry-for', '0']

type Variables = Readonly<Record<string, string>>

/** Segments 1 to 5 whole, 6 a tail, in a folder. */
async function makeStore(
  t: TestContext,
  content: MadeWal,
  change?: (made: MadeArchive) => void,
  secret: EncryptionKey | null = null,
): Promise<string> {
  const made = new MadeArchive(new MemoryStore(), secret)
  made.identity(content)
  for (const segno of [1, 2, 3, 4, 5]) await made.segment(content, segno)
  await made.chunk(content, 6, 0, content.end % segmentBytes)
  change?.(made)
  const folder = await tempFolder(t)
  for (const key of made.store.keys) {
    await mkdir(dirname(join(folder, key)), { recursive: true })
    await writeFile(join(folder, key), made.store.peek(key))
  }
  return folder
}

/** The data folder of a server that recovers; it runs as long as we do. */
class RecoveringServer {
  readonly data: DataFolder
  readonly #empty: string

  private constructor(data: DataFolder, empty: string) {
    this.data = data
    this.#empty = empty
  }

  static async make(t: TestContext, stores: readonly string[]): Promise<RecoveringServer> {
    let made: DataFolder | null = null
    // Before the folder is removed, and the first is done first.
    t.after(async () => {
      if (made === null) return
      await rm(join(made.path, 'recovery.signal'), { force: true })
      for (const store of stores) await waitUntilGone(made.pgWal, store)
    })
    made = await DataFolder.make(t, systemIdentifier)
    const server = new RecoveringServer(made, await tempFolder(t))
    await server.startedAt(1_700_000_000)
    await writeFile(join(made.path, 'recovery.signal'), '')
    return server
  }

  get folder(): string {
    return join(this.data.pgWal, folderName)
  }

  async startedAt(seconds: number): Promise<void> {
    const lines = [process.pid, this.data.path, seconds, 5432, '/tmp', '', '  1  2', 'starting']
    await writeFile(join(this.data.path, 'postmaster.pid'), `${lines.join('\n')}\n`)
  }

  async ask(
    segno: number,
    args: readonly string[],
    dest = 'pg_wal/RECOVERYXLOG',
    env: Variables = {},
  ): Promise<Finished> {
    const line = [nameOf(1, segno), dest, ...atOnce, ...args]
    return await runFetch(line, { signal: deadline(), cwd: this.data.path, env })
  }

  /** With a PATH in which there is no Node.js; null unless it is served. */
  async askWithoutNode(segno: number, args: readonly string[], env: Variables = {}): Promise<Buffer | null> {
    await rm(this.data.dest, { force: true })
    const line = [nameOf(1, segno), 'pg_wal/RECOVERYXLOG', ...atOnce, ...args]
    const { code } = await this.run('walferry-fetch', line, env)
    if (code === 0) return await readFile(this.data.dest)
    assert.equal(code, 127)
    return null
  }

  async run(name: 'walferry' | 'walferry-fetch', args: readonly string[], env: Variables = {}): Promise<Finished> {
    const path = await this.#pathWithoutNode()
    const options = { signal: deadline(), cwd: this.data.path, env: { ...env, PATH: path } }
    return await runProgram(program(name), args, options)
  }

  async serves(content: MadeWal, segno: number, args: readonly string[], env: Variables = {}): Promise<void> {
    const { code, stderr } = await this.ask(segno, args, undefined, env)
    assert.equal(code, 0, stderr)
    assert.ok((await readFile(this.data.dest)).equals(content.segment(segno)), `segment ${segno} is another one`)
  }

  async untilReady(...segnos: number[]): Promise<void> {
    const names = segnos.map((segno) => nameOf(1, segno))
    await until(async () => (await readySegments(this.data.pgWal)).join() === names.join())
  }

  async #pathWithoutNode(): Promise<string> {
    for (const tool of ['mv', 'rm', 'dirname', 'readlink']) {
      const file = join(this.#empty, tool)
      await writeFile(file, `#!/bin/sh\nPATH='${process.env['PATH']}' exec ${tool} "$@"\n`, { mode: 0o755 })
    }
    return this.#empty
  }
}

describe('segments that were fetched ahead', () => {
  test('are served without Node.js, each once, and the fetching goes on; a tail is none of them', async (t) => {
    const store = await makeStore(t, wal)
    const server = await RecoveringServer.make(t, [store])
    const args = ['--store', store, '--prefetch', '2']
    await server.serves(wal, 1, args)
    await server.untilReady(2, 3)
    assert.ok((await server.askWithoutNode(2, args))?.equals(wal.segment(2)))
    await server.untilReady(3, 4)
    assert.equal(await server.askWithoutNode(2, args), null)
    assert.ok((await server.askWithoutNode(4, args))?.equals(wal.segment(4)))
    await server.untilReady(5)
    assert.ok((await server.askWithoutNode(5, args))?.equals(wal.segment(5)))
    assert.equal(await server.askWithoutNode(6, args), null)
    const tail = await server.ask(6, args)
    assert.match(tail.stderr, /served the tail/)
    assert.deepEqual(await readySegments(server.data.pgWal), [])
  })

  test('come from S3 as they do from a folder', async (t) => {
    const s3 = await startS3Server()
    const store = `s3://${s3.bucket}/some/prefix`
    const server = await RecoveringServer.make(t, [store])
    t.after(() => s3.stop())
    await makeStore(t, wal, ({ store: objects }) => {
      for (const key of objects.keys) s3.objects.set(`some/prefix/${key}`, objects.peek(key))
    })
    const env = s3.environment
    const args = ['--store', store, '--s3-endpoint', s3.endpoint, '--prefetch', '2']
    await server.serves(wal, 1, args, env)
    await server.untilReady(2, 3)
    assert.ok((await server.askWithoutNode(2, args, env))?.equals(wal.segment(2)))
    // Nobody tells the background process: it sees that the file is gone.
    await server.untilReady(3, 4)
    assert.equal(await server.askWithoutNode(3, args, { ...env, AWS_ACCESS_KEY_ID: 'somebody-else' }), null)
    assert.ok((await server.askWithoutNode(3, args, env))?.equals(wal.segment(3)))
  })

  test('are all whole: a damaged one is refused in the foreground, with its code', async (t) => {
    const store = await makeStore(t, wal, ({ store: objects }) => {
      objects.set(`wal_005/${nameOf(1, 3)}.lz4`, Buffer.from('x'))
    })
    const server = await RecoveringServer.make(t, [store])
    await server.serves(wal, 1, ['--store', store])
    await until(async () => (await readySegments(server.data.pgWal)).includes(nameOf(1, 2)))
    assert.equal(await server.askWithoutNode(3, ['--store', store]), null)
    const refused = await server.ask(3, ['--store', store])
    assert.equal(refused.code, 201)
    assert.match(refused.stderr, /\[ARCHIVE_DAMAGED\]/)
  })

  test('are never served for another store, other options, or another run of the server', async (t) => {
    const store = await makeStore(t, wal)
    const other = await makeStore(t, otherWal)
    const server = await RecoveringServer.make(t, [store, other])
    const args = ['--store', store, '--prefetch', '3']
    await server.serves(wal, 1, args)
    await server.untilReady(2, 3, 4)
    assert.equal(await server.askWithoutNode(2, ['--store', other, '--prefetch', '3']), null)
    assert.equal(await server.askWithoutNode(2, [...args, '--no-tail']), null)
    assert.equal(await server.askWithoutNode(2, [...args, '\t']), null)
    await server.serves(otherWal, 2, ['--store', other, '--prefetch', '3'])
    await server.untilReady(3, 4, 5)
    assert.ok((await server.askWithoutNode(3, ['--store', other, '--prefetch', '3']))?.equals(otherWal.segment(3)))
    await until(async () => (await backgroundOf(store)).length === 0)
    // Left behind by a crash: nobody is there to take it away.
    const left = await readFile(join(server.folder, 'for'))
    await server.startedAt(1_700_000_060)
    await waitUntilGone(server.data.pgWal, other)
    await mkdir(server.folder)
    await writeFile(join(server.folder, 'for'), left)
    await writeFile(join(server.folder, nameOf(1, 4)), 'of a former run')
    assert.equal(await server.askWithoutNode(4, ['--store', other, '--prefetch', '3']), null)
    await server.serves(otherWal, 4, ['--store', other, '--prefetch', '3'])
    await server.untilReady(5)
  })

  test('are not served for another key file, and the key is in no file', async (t) => {
    const key = Buffer.alloc(32, 9).toString('base64')
    const folder = await tempFolder(t)
    const [file, copy] = [join(folder, 'key'), join(folder, 'copy')]
    for (const one of [file, copy]) await writeFile(one, key, { mode: 0o600 })
    const store = await makeStore(t, wal, undefined, new EncryptionKey(Buffer.alloc(32, 9)))
    const server = await RecoveringServer.make(t, [store])
    const inBase64 = ['--store', store, '--encryption-key-transform', 'base64']
    const args = [...inBase64, '--encryption-key-file', file]
    await server.serves(wal, 1, args)
    await server.untilReady(2, 3, 4, 5)
    assert.equal(await server.askWithoutNode(2, [...inBase64, '--encryption-key-file', copy]), null)
    assert.equal(await server.askWithoutNode(2, inBase64), null)
    assert.ok((await server.askWithoutNode(2, args))?.equals(wal.segment(2)))
    // A key in a variable: that there is one is part of what is asked, and the key itself is not written down.
    await server.startedAt(1_700_000_060)
    await waitUntilGone(server.data.pgWal, store)
    const env = { WALG_LIBSODIUM_KEY: key }
    await server.serves(wal, 1, inBase64, env)
    await server.untilReady(2, 3, 4, 5)
    for (const name of ['for', 'asked', 'alive']) {
      assert.ok(!(await readFile(join(server.folder, name))).includes(key.slice(0, 10)), name)
    }
    assert.equal(await server.askWithoutNode(2, inBase64), null)
    assert.ok((await server.askWithoutNode(2, inBase64, env))?.equals(wal.segment(2)))
  })

  test('stay where they are when DEST is a folder, or is not where a server wants a segment', async (t) => {
    const store = await makeStore(t, wal)
    const server = await RecoveringServer.make(t, [store])
    await server.serves(wal, 1, ['--store', store])
    await server.untilReady(2, 3, 4, 5)
    await rm(server.data.dest)
    await mkdir(server.data.dest)
    assert.equal((await server.ask(2, ['--store', store])).code, 126)
    assert.deepEqual(await readdir(server.data.dest), [])
    assert.equal((await server.ask(2, ['--store', store], `pg_wal/${nameOf(1, 2)}`)).code, 0)
    assert.deepEqual((await readySegments(server.data.pgWal))[0], nameOf(1, 2))
  })
})

test('walferry-fetch looks at every variable that may name another store or another key', async () => {
  const script = await readFile(program('walferry-fetch'), 'utf8')
  for (const name of ['config', 'store', 's3-endpoint', 's3-region', 's3-path-style', ...keyOptions] as const) {
    for (const variable of [variableOf(name), ...(entryOf(name).standIns ?? [])]) {
      assert.ok(script.includes(`"\${${variable}-}"`), variable)
    }
  }
  assert.ok(script.includes('"${WALG_LIBSODIUM_KEY_PATH-}"'))
})

describe('nothing is fetched ahead', () => {
  for (const { when, segno = 1, args = [], prepare } of [
    { when: 'with --prefetch 0', args: ['--prefetch', '0'] },
    { when: 'when the next segment is not in the archive', segno: 5 },
    { when: 'for a tail', segno: 6 },
    {
      when: 'for a server that does not recover',
      prepare: ({ data }: RecoveringServer) => rm(`${data.path}/recovery.signal`),
    },
    { when: 'where no server runs', prepare: ({ data }: RecoveringServer) => rm(`${data.path}/postmaster.pid`) },
  ]) {
    test(when, async (t) => {
      const store = await makeStore(t, wal)
      const server = await RecoveringServer.make(t, [store])
      await prepare?.(server)
      assert.equal((await server.ask(segno, ['--store', store, ...args])).code, 0)
      assert.deepEqual(await readdir(server.data.pgWal), ['RECOVERYXLOG'])
      assert.deepEqual(await backgroundOf(store), [])
    })
  }
})

describe('the background process ends, and takes its folder away,', () => {
  for (const command of ['walferry-fetch', 'walferry'] as const) {
    test(`at ${command === 'walferry' ? 'walferry fetch' : command} --cleanup, which needs no Node.js`, async (t) => {
      const store = await makeStore(t, wal)
      const server = await RecoveringServer.make(t, [store])
      await server.serves(wal, 1, ['--store', store])
      await server.untilReady(2, 3, 4, 5)
      const line = command === 'walferry' ? ['fetch', '--cleanup'] : ['--cleanup']
      assert.equal((await server.run(command, line)).code, 0)
      assert.deepEqual(await readdir(server.data.pgWal), ['RECOVERYXLOG'])
      await waitUntilGone(server.data.pgWal, store)
      assert.equal((await server.run(command, line)).code, 0)
    })
  }

  test('when the data folder is gone', async (t) => {
    const store = await makeStore(t, wal)
    const server = await RecoveringServer.make(t, [])
    await server.serves(wal, 1, ['--store', store])
    await server.untilReady(2, 3, 4, 5)
    // Tried again where the background process has just begun a file there.
    await rm(server.data.path, { recursive: true, maxRetries: 10 })
    await until(async () => (await backgroundOf(store)).length === 0)
    await assert.rejects(stat(server.data.path))
  })
})
