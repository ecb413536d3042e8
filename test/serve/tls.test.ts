/**
 * The listener over TLS. `test/fixtures/tls` holds an authority's certificate (root.crt) and a server's for the name
 * `localhost`; a second pair is made here with openssl, for the renewal.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, readFile, rename, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { isError } from '../../src/kit/errors.ts'
import { type Listener, listen } from '../../src/serve/listener.ts'
import type { Served } from '../../src/serve/routes.ts'
import { readTlsFiles, type TlsFiles } from '../../src/serve/tls-files.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { emptyStatus } from './statuses.ts'

const fixtures = join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'tls')
const root = await readFile(join(fixtures, 'root.crt'))

const quiet: Served = {
  contentType: 'text/plain',
  metrics: async () => 'up 1\n',
  reasons: () => [],
  status: async () => emptyStatus,
  history: () => assert.fail(),
  archive: () => assert.fail(),
}

/** The fixture's pair in a folder of its own, the key for its owner alone. */
async function pair(t: TestContext): Promise<TlsFiles> {
  const folder = await tempFolder(t)
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') }
  await copyFile(join(fixtures, 'server.crt'), files.cert)
  await copyFile(join(fixtures, 'server.key'), files.key)
  await chmod(files.key, 0o600)
  return files
}

/** Another certificate for localhost, by itself, and its key. */
async function otherPair(t: TestContext): Promise<TlsFiles> {
  const folder = await tempFolder(t)
  const files = { cert: join(folder, 'new.crt'), key: join(folder, 'new.key') }
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const names = ['-subj', '/CN=renewed', '-addext', 'subjectAltName=DNS:localhost']
  await promisify(execFile)('openssl', [...made, ...names, '-keyout', files.key, '-out', files.cert])
  return files
}

interface Opened {
  readonly listener: Listener
  readonly said: string[]
}

async function open(t: TestContext, tls: TlsFiles): Promise<Opened> {
  const said: string[] = []
  const say = (message: string): void => void said.push(message)
  const log = { error: say, warn: say, info: say, debug: say }
  const listener = await listen({ host: '127.0.0.1', port: 0, tls, log }, quiet)
  t.after(() => listener.close())
  return { listener, said }
}

/** The body of an answer, over a connection that trusts `ca` and asks for `localhost`. */
async function ask(listener: Listener, path: string, ca: Buffer): Promise<string> {
  return await new Promise((resolve, reject) => {
    const url = new URL(path, listener.url)
    const options = { ca, servername: 'localhost', agent: false, signal: deadline() }
    const asking = request(url, options, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve(`${response.statusCode} ${body}`))
    })
    asking.on('error', reject).end()
  })
}

test('who is in the middle of a handshake does not hold up the end', async (t) => {
  const { listener } = await open(t, await pair(t))
  const port = Number(new URL(listener.url).port)
  const silent = createConnection(port, '127.0.0.1').on('error', () => undefined)
  t.after(() => silent.destroy())
  await once(silent, 'connect')
  // Connections are accepted in order: once this one is answered, the listener has the silent one.
  assert.equal(await ask(listener, '/metrics', root), '200 up 1\n')
  // Sooner than the limit on a handshake, which would close it in the end.
  const closing = listener.close()
  await once(silent, 'close', { signal: AbortSignal.timeout(2500) })
  await closing
})

/** Whom the certificate names that is served now. */
async function subject(listener: Listener): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(listener.url).port), rejectUnauthorized: false })
  await once(socket, 'secureConnect', { signal: deadline() })
  const { subject: named } = socket.getPeerCertificate()
  socket.destroy()
  return String(named.CN)
}

async function until(isReached: () => boolean | Promise<boolean>): Promise<void> {
  const signal = deadline()
  while (!(await isReached())) {
    signal.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('everything is served over TLS, to a client that trusts the authority', async (t) => {
  const { listener } = await open(t, await pair(t))
  assert.match(listener.url, /^https:\/\/127\.0\.0\.1:\d+$/)
  assert.equal(await ask(listener, '/metrics', root), '200 up 1\n')
  assert.match(await ask(listener, '/readyz', root), /^200 /)
  const other = await readFile(join(fixtures, 'other-root.crt'))
  await assert.rejects(ask(listener, '/metrics', other), { code: /CERT|UNABLE_TO/ })
})

test('plain HTTP gets no answer, and a handshake that is not finished holds nobody up', async (t) => {
  const { listener } = await open(t, await pair(t))
  const port = Number(new URL(listener.url).port)
  for (const text of ['GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', '']) {
    const socket = createConnection(port, '127.0.0.1').on('error', () => undefined)
    const closed = once(socket, 'close', { signal: deadline() })
    let heard = ''
    socket.setEncoding('latin1').on('data', (some: string) => {
      heard += some
    })
    socket.write(text)
    assert.equal(await ask(listener, '/metrics', root), '200 up 1\n')
    await closed
    assert.doesNotMatch(heard, /HTTP/)
  }
})

test('100 handshakes that are begun and go no further keep nobody from an answer', async (t) => {
  const { listener } = await open(t, await pair(t))
  const port = Number(new URL(listener.url).port)
  const sockets = Array.from({ length: 100 }, () => createConnection(port, '127.0.0.1').on('error', () => undefined))
  t.after(() => sockets.forEach((socket) => socket.destroy()))
  await Promise.all(sockets.map((socket) => once(socket, 'connect', { signal: deadline() })))
  assert.equal(await ask(listener, '/metrics', root), '200 up 1\n')
})

test('a renewed certificate is served without a restart; half a renewal changes nothing', async (t) => {
  const files = await pair(t)
  const renewed = await otherPair(t)
  const { listener, said } = await open(t, files)
  const before = await subject(listener)
  assert.notEqual(before, 'renewed')
  await rename(renewed.cert, files.cert)
  await until(() => said.some((line) => /new certificate cannot be used/.test(line)))
  assert.equal(await subject(listener), before)
  await rename(renewed.key, files.key)
  await until(async () => (await subject(listener)) === 'renewed')
  assert.equal(await ask(listener, '/metrics', await readFile(files.cert)), '200 up 1\n')
  assert.equal(said.filter((line) => /cannot be used/.test(line)).length, 1)
})

test('files that cannot be served are refused, with the option whose they are', async (t) => {
  const files = await pair(t)
  const folder = await tempFolder(t)
  const text = join(folder, 'text')
  await writeFile(text, 'no PEM\n', { mode: 0o600 })
  const open = join(folder, 'open.key')
  await copyFile(files.key, open)
  await chmod(open, 0o644)
  const other = await otherPair(t)
  const missing = join(folder, 'missing')
  const cases: readonly (readonly [TlsFiles, RegExp])[] = [
    [{ ...files, cert: missing }, /^--listen-tls-cert: \S+missing: the file cannot be read$/],
    [{ ...files, key: missing }, /^--listen-tls-key: \S+missing: the file cannot be read$/],
    [{ ...files, cert: text }, /^--listen-tls-cert: \S+text: it cannot be used$/],
    [{ ...files, key: text }, /^--listen-tls-key: \S+text: it cannot be used$/],
    [{ ...files, key: other.key }, /^--listen-tls-key: \S+new.key: it cannot be used$/],
    [{ ...files, key: open }, /^--listen-tls-key: \S+open.key: every user of the machine may access the file$/],
  ]
  for (const [wrong, message] of cases) {
    await assert.rejects(readTlsFiles(wrong), (error) => {
      assert.ok(isError(error, 'BAD_INPUT'))
      assert.match(error.message, message)
      assert.ok((error.hint ?? '') !== '')
      return true
    })
  }
})
