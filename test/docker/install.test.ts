/**
 * What a user installs runs where nothing else is: the image's root, made by the steps of docker/Dockerfile, and the package
 * that `npm pack` makes, in an empty folder. Both take npm's registry, or its cache.
 */
import assert from 'node:assert/strict'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, delimiter, dirname, join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import * as v from 'valibot'
import { MadeArchive, nameOf } from '../restore/made-archive.ts'
import { MadeWal, segmentBytes } from '../restore/made-wal.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, runProgram } from '../support/walferry.ts'
import { readDocker, root as checkout } from './command-line.ts'
import { build, finalOnes, imageEnvironment, letIn, linkPackages, parseDockerfile } from './dockerfile.ts'

const installMs = 240_000 // 10 s, with a warm cache on an idle machine
const { version } = v.parse(
  v.object({ version: v.string() }),
  JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')),
)
const npmEnv = { npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_update_notifier: 'false' }

/** Runs npm, or skips the test and resolves with null where that fails because there is no registry. */
async function npm(t: TestContext, cwd: string, ...args: string[]): Promise<Finished | null> {
  const finished = await runProgram('npm', args, { signal: deadline(installMs), cwd, env: npmEnv })
  if (isUnreachable(finished.stderr)) {
    t.skip('npm’s registry cannot be reached')
    return null
  }
  assert.equal(finished.code, 0, finished.stderr)
  return finished
}

function isUnreachable(text: string): boolean {
  return /\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED)\b/.test(text)
}

/** An archive in a folder that holds one segment, and that segment. */
async function madeArchive(folder: string): Promise<{ name: string; segment: Buffer }> {
  const wal = new MadeWal().fillTo(2 * segmentBytes, 'a')
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.segment(wal, 1)
  for (const key of archive.store.keys) {
    await mkdir(dirname(join(folder, key)), { recursive: true })
    await writeFile(join(folder, key), archive.store.peek(key))
  }
  return { name: nameOf(1, 1), segment: wal.segment(1) }
}

/** What is installed says its version and its help, fetches a segment (lz4), and locks a spool: all native packages are there. */
async function works(t: TestContext, walferry: string, fetch: string, env: Record<string, string> = {}): Promise<void> {
  const folder = await tempFolder(t)
  const { name, segment } = await madeArchive(folder)
  const run = (file: string, ...args: string[]): Promise<Finished> =>
    runProgram(file, args, { signal: deadline(), cwd: folder, env })

  assert.deepEqual(await run(walferry, '--version'), { code: 0, signal: null, stdout: `${version}\n`, stderr: '' })
  assert.match((await run(walferry, 'receive', '--help')).stdout, /--ship-interval/)

  const fetched = await run(fetch, name, join(folder, 'segment'), '--store', folder)
  assert.equal(fetched.code, 0, fetched.stderr)
  assert.ok(segment.equals(await readFile(join(folder, 'segment'))))

  const nowhere = ['--url', 'postgres://walferry@127.0.0.1:1/?sslmode=disable', '--no-loop', '--listen', 'off']
  const store = ['--store', 's3://bucket/prefix', '--s3-endpoint', 'http://127.0.0.1:1']
  const received = await run(walferry, 'receive', ...nowhere, ...store, '--spool', join(folder, 'spool'))
  assert.match(received.stderr, /\[PG_CONNECTION_LOST\]/)
  assert.ok((await stat(join(folder, 'spool'))).isDirectory())
}

describe('what is installed', { concurrency: 2 }, () => {
  test('the image, by the steps of the Dockerfile, runs with what production needs', async (t) => {
    const stages = parseDockerfile(readDocker('Dockerfile'))
    const root = await tempFolder(t)
    const image = await build({
      context: checkout,
      stages,
      entries: letIn(await readFile(join(checkout, '.dockerignore'), 'utf8')),
      root,
      env: { ...process.env, ...npmEnv },
      // What it would install is what the checkout has, by the same lock file; and npm test has been built with it.
      instead: (command, folder) =>
        command.startsWith('npm ci ') && !command.includes('--omit=dev') ? linkPackages(checkout, folder) : null,
      signal: deadline(installMs),
    }).catch((error: unknown) => {
      if (!(error instanceof Error) || !isUnreachable(error.message)) throw error
      t.skip('npm’s registry cannot be reached')
      return null
    })
    if (image === null) return

    const [workdir = ''] = finalOnes(stages, 'WORKDIR')
    const { PATH = '', ...env } = imageEnvironment(stages)
    const paths = PATH.replace('$PATH', process.env['PATH'] ?? '').split(delimiter)
    const [own = ''] = paths
    assert.equal(own, join(workdir, 'bin'))
    const modules = join(image, workdir, 'node_modules')
    await assert.rejects(stat(join(modules, 'typescript')), { code: 'ENOENT' })
    await works(t, join(image, own, 'walferry'), join(image, own, 'walferry-fetch'), env)
  })

  test('the package, in an empty folder, runs with npx', async (t) => {
    const built = resolve(import.meta.dirname, '../..')
    if (basename(built) !== 'dist') {
      t.skip(`npm packs dist, and this is the build in ${basename(built)}`)
      return
    }
    const folder = await tempFolder(t)
    // Without scripts: `prepare` would build anew, under the feet of the tests that run.
    const packed = await npm(t, checkout, 'pack', '--ignore-scripts', '--json', '--pack-destination', folder)
    if (packed === null) return
    const [tarball] = v.parse(
      v.array(
        v.object({
          filename: v.string(),
          size: v.number(),
          unpackedSize: v.number(),
          files: v.array(v.object({ path: v.string() })),
        }),
      ),
      JSON.parse(packed.stdout),
    )
    assert.ok(tarball)
    const paths = tarball.files.map(({ path }) => path)
    const beside = paths.filter((path) => !/^(?:bin|dist\/bundle)\//.test(path))
    assert.deepEqual(
      beside.toSorted((a, b) => (a < b ? -1 : 1)),
      [
        'LICENSE',
        'README.md',
        'docker/systemd/walferry@.service',
        'grafana/README.md',
        'grafana/alerts.yml',
        'grafana/dashboard.json',
        'package.json',
      ],
    )
    // Sources are not packed, so a map of them would point nowhere.
    const strange = paths.filter((path) => /\.(?:map|ts)$|\.test\./.test(path))
    assert.deepEqual(strange, [])
    t.diagnostic(`${tarball.size} bytes packed, ${tarball.unpackedSize} unpacked`)

    // --prefix, because npm would otherwise install into a folder above that has a package.json.
    const installed = await npm(t, folder, 'install', '--prefix', folder, join(folder, tarball.filename))
    if (installed === null) return
    assert.doesNotMatch(installed.stderr, /script/, 'nothing is to be run, and nothing to be allowed')
    const npx = await npm(t, folder, 'exec', '--prefix', folder, '--no', '--', 'walferry', '--version')
    assert.equal(npx?.stdout, `${version}\n`)
    const bin = join(folder, 'node_modules', '.bin')
    await works(t, join(bin, 'walferry'), join(bin, 'walferry-fetch'))
  })
})

describe('the image', () => {
  const stages = parseDockerfile(readDocker('Dockerfile'))

  test('runs as a numbered user that is not root, and starts walferry without a shell', () => {
    assert.match(finalOnes(stages, 'USER').at(-1) ?? '', /^[1-9]\d*:[1-9]\d*$/)
    assert.deepEqual(finalOnes(stages, 'ENTRYPOINT'), ['["walferry"]'])
    assert.deepEqual(finalOnes(stages, 'CMD'), ['["receive"]'])
  })

  test('is healthy while /healthz answers with 200', async (t) => {
    let status = 200
    const server = createServer((request, response) =>
      response.writeHead(request.url === '/healthz' ? status : 404).end(),
    )
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    t.after(() => server.close())
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
    const { port } = server.address() as AddressInfo
    const [, text = ''] = /CMD (\[.*\])$/.exec(finalOnes(stages, 'HEALTHCHECK')[0] ?? '') ?? []
    const [program = '', ...args] = v.parse(v.array(v.string()), JSON.parse(text))
    const env = { WALFERRY_LISTEN: `0.0.0.0:${port}` }
    const check = async (): Promise<number | null> =>
      (await runProgram(program, args, { signal: deadline(), env })).code
    assert.equal(await check(), 0)
    status = 503
    assert.equal(await check(), 1)
  })
})
