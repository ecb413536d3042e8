/** The scripts of bin/: whatever becomes of Node.js or of the installation, PostgreSQL never reads it as "absent". */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, program, runProgram } from '../support/walferry.ts'

/** An installation of which each main.js is this. Its folder's name needs quotes wherever it is used. */
async function install(t: TestContext, main: string): Promise<string> {
  const root = join(await tempFolder(t), "it's 100% $HOME")
  await cp(scripts, join(root, 'bin'), { recursive: true })
  await writeFile(join(root, 'package.json'), '{"type":"module"}')
  for (const bundle of [cliBundle, fetchBundle]) {
    await mkdir(join(root, bundle), { recursive: true })
    await writeFile(join(root, bundle, 'main.js'), main)
  }
  return root
}

const scripts = dirname(program('walferry'))
const checkout = join(import.meta.dirname, '../../..')
const cliBundle = join('dist', 'bundle', 'cli')
const fetchBundle = join('dist', 'bundle', 'fetch')

const line = ['000000010000000000000001', '/tmp/never-written', '--store', '/tmp']

async function fetchIn(root: string, env: Record<string, string> = {}): Promise<Finished> {
  return await runProgram(join(root, 'bin', 'walferry-fetch'), line, { signal: deadline(), env })
}

async function pushIn(root: string, env: Record<string, string> = {}): Promise<Finished> {
  const args = ['push', 'pg_wal/000000010000000000000001']
  return await runProgram(join(root, 'bin', 'walferry'), args, { signal: deadline(), env })
}

describe('a fetch of which Node.js says', () => {
  for (const [code, answer] of [
    [64, 1],
    [1, 126],
    [13, 126],
    [125, 126],
    [126, 126],
    [200, 200],
    [255, 255],
  ]) {
    test(`${code} is answered with ${answer}`, async (t) => {
      const finished = await fetchIn(await install(t, `process.exit(${code})`))
      assert.equal(finished.code, answer)
      const isOdd = answer === 126 && code !== 126
      assert.equal(/answering 126/.test(finished.stderr), isOdd, finished.stderr)
    })
  }

  test('0 is answered with 0 if there is a file, and else with 126', async (t) => {
    const root = await install(t, 'import { writeFileSync as write } from "node:fs"; write(process.argv[4], "WAL")')
    const dest = join(root, 'pg_wal file')
    const fetch = [join(root, 'bin', 'walferry-fetch'), ['000000010000000000000001', dest]] as const
    assert.equal((await runProgram(...fetch, { signal: deadline() })).code, 0)
    assert.equal(await readFile(dest, 'utf8'), 'WAL')
    await rm(dest)
    for (const main of ['', 'process.exit(0)']) {
      await writeFile(join(root, fetchBundle, 'main.js'), main)
      assert.equal((await runProgram(...fetch, { signal: deadline() })).code, 126)
    }
  })

  for (const [what, main] of [
    ['that an error was not caught', 'throw new Error("fault")'],
    ['that a promise was not caught', 'Promise.reject(new Error("fault"))'],
    [
      'that an error was not caught, after an exit code was set',
      'process.exitCode = 64; setTimeout(() => nothing(), 1)',
    ],
    ['that it waits for nothing', 'await new Promise(() => undefined)'],
    ['that there is a syntax error', 'const'],
    ['that a module is missing', 'import "./missing.js"'],
    ['that a package is missing', 'import "no-such-package"'],
    ['nothing, because it was killed', 'process.kill(process.pid, "SIGKILL")'],
    ['nothing, because it has crashed', 'process.abort()'],
    ['nothing, because it was asked to end', 'process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000)'],
  ] as const) {
    test(`${what} is answered with 126 or more`, async (t) => {
      const { code, stderr } = await fetchIn(await install(t, main))
      assert.ok(code !== null && code >= 126, `${code}: ${stderr}`)
    })
  }

  test('that an option of NODE_OPTIONS is unknown is answered with 126', async (t) => {
    const root = await install(t, 'process.exit(64)')
    assert.equal((await fetchIn(root, { NODE_OPTIONS: '--no-such-option' })).code, 126)
    assert.equal((await fetchIn(root, { NODE_OPTIONS: '--require /no/such/file.cjs' })).code, 126)
    assert.equal((await fetchIn(root)).code, 1)
  })
})

describe('a push of which Node.js says', () => {
  for (const code of [0, 1, 9, 13, 64, 126, 200, 255]) {
    test(`${code} is answered with ${code === 64 ? 0 : 1}`, async (t) => {
      const finished = await pushIn(await install(t, `process.exit(${code})`))
      assert.equal(finished.code, code === 64 ? 0 : 1)
      const isOdd = code !== 64 && code !== 1
      assert.equal(finished.stderr.includes(`push failed with code ${code}; answering 1`), isOdd, finished.stderr)
    })
  }

  for (const [what, main] of [
    ['nothing, because its main module is empty', ''],
    ['that a promise was not caught', 'Promise.reject(new Error("fault"))'],
    ['that it waits for nothing', 'await new Promise(() => undefined)'],
    ['that there is a syntax error', 'const'],
    ['that a module is missing', 'import "./missing.js"'],
    ['nothing, because it was killed', 'process.kill(process.pid, "SIGKILL")'],
    ['nothing, because it was asked to end', 'process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000)'],
  ] as const) {
    test(`${what} is answered with 1`, async (t) => {
      const { code, stderr } = await pushIn(await install(t, main))
      assert.equal(code, 1, stderr)
    })
  }

  test('that an option of NODE_OPTIONS is unknown, or of which there is no Node.js, is answered with 1', async (t) => {
    const root = await install(t, 'process.exit(64)')
    assert.equal((await pushIn(root, { NODE_OPTIONS: '--no-such-option' })).code, 1)
    const { code, stderr } = await pushIn(root, { PATH: await withoutNode(t) })
    assert.equal(code, 1)
    assert.match(stderr, /node is not in PATH/)
    assert.equal((await pushIn(root)).code, 0)
  })

  test('nothing, because its code is not there, is answered with 1 and what to do', async (t) => {
    const root = await install(t, '')
    await rm(join(root, 'dist'), { recursive: true })
    const { code, stderr } = await pushIn(root)
    assert.equal(code, 1)
    assert.match(stderr, /main\.js is not there.*npm run build/)
  })

  test('0 when asked for help is answered with 0', async (t) => {
    const root = await install(t, '')
    const { code } = await runProgram(join(root, 'bin', 'walferry'), ['push', '--help'], { signal: deadline() })
    assert.equal(code, 0)
  })
})

describe('a fetch from an installation', () => {
  test('without Node.js is answered with 127', async (t) => {
    const { code, stderr } = await fetchIn(await install(t, ''), { PATH: await withoutNode(t) })
    assert.equal(code, 127)
    assert.match(stderr, /node is not in PATH/)
  })

  test('without dist, or without the other script, is answered with 126 or more', async (t) => {
    const root = await install(t, '')
    await rm(join(root, 'dist'), { recursive: true })
    const without = await fetchIn(root)
    assert.equal(without.code, 126)
    assert.match(without.stderr, /main\.js is not there.*npm run build/)
    await rm(join(root, 'bin', 'walferry'))
    const { code } = await fetchIn(root)
    assert.ok(code === 126 || code === 127, String(code))
  })

  test('whose modules are cut is answered with 126, whichever it is', async (t) => {
    const build = join(await tempFolder(t), 'walferry')
    await cp(join(import.meta.dirname, '../../bundle/fetch'), join(build, fetchBundle), { recursive: true })
    await cp(scripts, join(build, 'bin'), { recursive: true })
    for (const name of ['package.json', 'node_modules']) await symlink(join(checkout, name), join(build, name))
    const [name, dest] = ['000000010000000000000001', join(build, 'file')]
    const ask = (): Promise<Finished> =>
      runProgram(join(build, 'bin', 'walferry-fetch'), [name, dest, '--store', build], { signal: deadline() })
    assert.equal((await ask()).code, 203)
    for (const source of [
      'cli/fetch-main.ts',
      'cli/fetch.ts',
      'restore/fetch.ts',
      'store/directory.ts',
      'kit/errors.ts',
    ]) {
      const { path, text } = await fileWith(source, join(build, fetchBundle))
      for (const part of ['', text.slice(0, text.length / 2), `${text}\n}`]) {
        await writeFile(path, part)
        const { code, stderr } = await ask()
        assert.equal(code, 126, `${source}, ${part.length} bytes: ${stderr}`)
      }
      await writeFile(path, text)
    }
    assert.equal((await ask()).code, 203)
  })
})

describe('the scripts find their installation', () => {
  const saysWhere = 'process.stdout.write(import.meta.url); process.exit(64)'

  test('through links: absolute, relative, in a chain, of a folder', async (t) => {
    const root = await install(t, saysWhere)
    const links = await tempFolder(t)
    await mkdir(join(links, 'a', 'b'), { recursive: true })
    await symlink(join(root, 'bin', 'walferry-fetch'), join(links, 'absolute'))
    await symlink('../absolute', join(links, 'a', 'relative'))
    await symlink('../relative', join(links, 'a', 'b', 'chain'))
    await symlink(join(root, 'bin'), join(links, 'folder'))
    await symlink(root, join(links, 'root'))
    const paths = ['absolute', 'a/relative', 'a/b/chain', 'folder/walferry-fetch', 'root/bin/walferry-fetch']
    for (const path of paths) {
      const { code, stdout, stderr } = await runProgram(join(links, path), line, { signal: deadline() })
      assert.equal(code, 1, `${path}: ${stderr}`)
      assert.ok(stdout.endsWith('/dist/bundle/fetch/main.js'))
    }
  })

  test('from PATH, and by a relative path whatever CDPATH says', async (t) => {
    const root = await install(t, saysWhere)
    const elsewhere = await tempFolder(t)
    await mkdir(join(elsewhere, 'bin'))
    const signal = deadline()
    const byPath = { PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}` }
    assert.equal((await runProgram('/bin/sh', ['-c', 'walferry-fetch a b'], { signal, env: byPath })).code, 1)
    const env = { CDPATH: elsewhere }
    assert.equal((await runProgram('/bin/sh', ['-c', 'bin/walferry-fetch a b'], { signal, env, cwd: root })).code, 1)
    assert.equal(
      (await runProgram('/bin/sh', ['-c', './walferry-fetch a b'], { signal, env, cwd: join(root, 'bin') })).code,
      1,
    )
  })
})

test('arguments arrive as they were given, and the threads that were asked for', async (t) => {
  const root = await install(
    t,
    'console.log(JSON.stringify([process.env.UV_THREADPOOL_SIZE, ...process.argv.slice(2)]))',
  )
  const said = async (name: string, args: readonly string[], env = {}): Promise<unknown> =>
    JSON.parse((await runProgram(join(root, 'bin', name), args, { signal: deadline(), env })).stdout)
  const odd = ['', ' ', '*', '$HOME', "it's", '"', '\\', '--', '%f']
  assert.deepEqual(await said('walferry-fetch', odd), ['16', 'fetch', ...odd])
  assert.deepEqual(await said('walferry', ['receive', ...odd]), ['16', 'receive', ...odd])
  assert.deepEqual(await said('walferry-fetch', [], { UV_THREADPOOL_SIZE: '5' }), ['5', 'fetch'])
})

test('every other command is Node.js itself: its code, and the signals that are sent to it', async (t) => {
  const root = await install(t, 'process.exit(Number(process.argv[2]))')
  for (const code of [0, 1, 3, 64, 126]) {
    const finished = await runProgram(join(root, 'bin', 'walferry'), [String(code)], { signal: deadline() })
    assert.deepEqual([finished.code, finished.stderr], [code, ''])
  }
  const killed = await install(t, 'process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000)')
  const { code, signal } = await runProgram(join(killed, 'bin', 'walferry'), ['receive'], { signal: deadline() })
  assert.deepEqual([code, signal], [null, 'SIGTERM'])
})

/** The file of the bundle that holds what this file of src/ exports. */
async function fileWith(source: string, folder: string): Promise<{ path: string; text: string }> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const text = await readFile(path, 'utf8')
    if (text.includes(`\n// src/${source}\n`)) return { path, text }
  }
  throw new Error(`${source} is in no file of the bundle`)
}

/** A PATH with the tools that the scripts use, and without node. */
async function withoutNode(t: TestContext): Promise<string> {
  const folder = await tempFolder(t)
  for (const tool of ['sh', 'dirname', 'readlink']) await symlink(join('/bin', tool), join(folder, tool))
  return folder
}
