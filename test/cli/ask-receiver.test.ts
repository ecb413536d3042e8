/** Asking a receiver: whatever listens there, the answer is a status, silence, or an error that says who answered. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { askReceiver, type ReceiverAddress, urlOf } from '../../src/cli/ask-receiver.ts'
import { deadline } from '../support/postgres.ts'
import { lagOf, madeStatus } from './made-status.ts'

const tls = join(import.meta.dirname, '../../../test/fixtures/tls')

async function listening(t: TestContext, server: Server | TcpServer): Promise<ReceiverAddress> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, certificateFile: null }
}

function answering(body: string, type = 'application/json', code = 200): RequestListener {
  return (_request, response) => void response.writeHead(code, { 'Content-Type': type }).end(body)
}

async function ask(t: TestContext, listener: RequestListener): ReturnType<typeof askReceiver> {
  return await askReceiver(await listening(t, createServer(listener)), deadline())
}

test('a receiver’s answer is its status, and what a later version adds does not matter', async (t) => {
  const told = { ...madeStatus(), weather: 'fine' }
  assert.deepEqual(await ask(t, answering(JSON.stringify(told))), madeStatus())
})

test('nothing that a terminal would obey comes through, wherever it stands', async (t) => {
  const evil = 'a\u001b[2J\u009b\u202e\r\nb'
  const reasons = [{ code: evil, message: evil, hint: evil }]
  const status = await ask(t, answering(JSON.stringify(madeStatus({ state: evil, version: evil, reasons }))))
  assert.ok(!('silence' in status))
  const tame = 'a [2J    b'
  assert.deepEqual([status.state, status.version], [tame, tame])
  assert.deepEqual(status.reasons, [{ code: tame, message: tame, hint: tame }])
})

const page = '<html>\u001b[2J</html>'
const strangers: readonly (readonly [string, RequestListener, RegExp])[] = [
  [
    'a web server',
    answering(page, 'text/html', 404),
    /^what listens on http:\/\/127\.0\.0\.1:\d+ answers \/status\.json with HTTP 404 \(text\/html\)$/,
  ],
  [
    'a redirection',
    (_request, response) => void response.writeHead(302, { Location: '/' }).end(),
    /HTTP 302 \(no type\)/,
  ],
  ['a page that says yes to all', answering(page, 'text/html'), /HTTP 200 \(text\/html\)/],
  ['JSON of another kind', answering('{"status":"UP"}'), /with something else than a status: format$/],
  ['no JSON', answering('{'), /with something else than a status: all of it$/],
  [
    'a later version',
    answering(JSON.stringify({ ...madeStatus(), format: 2, version: '9.1' })),
    /a status: format \(it says that it is version 9\.1\)$/,
  ],
  [
    'a position that is none',
    answering(JSON.stringify(madeStatus({ gaps: [{ timeline: 1, from: '0/1', to: 'x' }] }))),
    /gaps\.0\.to/,
  ],
  ['a time that is none', answering(JSON.stringify(madeStatus({ at: '2026-02-30T25:00:00Z' }))), /: at /],
  ['a lag below 0', answering(JSON.stringify(madeStatus({ lag: lagOf(-1, 0, 0, 0) }))), /: lag\.receive\.bytes/],
  ['more than a status can be', answering(`"${'x'.repeat(2 ** 20)}"`), /its answer is longer than 262144 bytes/],
  [
    'an answer that breaks off',
    (request, response) =>
      void response.writeHead(200, { 'Content-Length': 9 }).write('{', () => request.socket.destroy()),
    /does not answer as a receiver: .*aborted/,
  ],
]
for (const [name, listener, expected] of strangers) {
  test(`${name} is told to be no receiver`, async (t) => {
    await assert.rejects(ask(t, listener), ({ code, message, hint }: Error & Record<string, unknown>) => {
      assert.equal(code, 'RECEIVER_FOREIGN')
      assert.match(message, expected)
      assert.equal(typeof hint, 'string')
      return true
    })
  })
}

test('something that is no HTTP is told to be no receiver, and no escape of it is repeated', async (t) => {
  const address = await listening(
    t,
    createTcpServer((socket) => void socket.on('error', () => undefined).end('\u001b[2JSSH-2.0\r\n')),
  )
  await assert.rejects(askReceiver(address, deadline()), ({ code, message }: Error & Record<string, unknown>) => {
    assert.equal(code, 'RECEIVER_FOREIGN')
    assert.ok(!message.includes('\u001b'), message)
    return true
  })
})

test('where nobody listens, there is silence', async (t) => {
  const server = createTcpServer()
  const address = await listening(t, server)
  server.close()
  await once(server, 'close')
  assert.deepEqual(await askReceiver(address, deadline()), { silence: 'ECONNREFUSED' })
})

test('an abort ends the question at once', async (t) => {
  const stop = new AbortController()
  const address = await listening(
    t,
    createServer(() => stop.abort(new Error('stopped'))),
  )
  await assert.rejects(askReceiver(address, stop.signal), /^Error: stopped$/)
})

test('the URL names the address as it is asked', () => {
  assert.equal(urlOf({ host: '::1', port: 9868, certificateFile: null }), 'http://[::1]:9868')
  assert.equal(urlOf({ host: 'db.example', port: 1, certificateFile: '/server.crt' }), 'https://db.example:1')
})

async function tlsServer(t: TestContext): Promise<ReceiverAddress> {
  const [cert, key] = await Promise.all(['server.crt', 'server.key'].map((name) => readFile(join(tls, name))))
  const server = createTlsServer({ cert: cert ?? '', key: key ?? '' }, answering(JSON.stringify(madeStatus())))
  return await listening(t, server)
}

test('with TLS its certificate is trusted, whoever signed it, and no other', async (t) => {
  const address = await tlsServer(t)
  const withFile = (name: string): ReceiverAddress => ({ ...address, certificateFile: join(tls, name) })
  assert.deepEqual(await askReceiver(withFile('server.crt'), deadline()), madeStatus())
  for (const other of ['root.crt', 'other-root.crt']) {
    await assert.rejects(askReceiver(withFile(other), deadline()), { code: 'RECEIVER_FOREIGN' }, other)
  }
  for (const none of ['server.key', 'missing']) {
    const message = new RegExp(`of listen-tls-cert, ".*${none}"`)
    await assert.rejects(askReceiver(withFile(none), deadline()), { code: 'BAD_INPUT', message }, none)
  }
})

test('TLS where none is expected, and none where it is, are errors that name the option', async (t) => {
  const hint = /--listen-tls-cert/
  await assert.rejects(askReceiver(await tlsServer(t), deadline()), { code: 'RECEIVER_FOREIGN', hint })
  const plain = await listening(t, createServer(answering('{}')))
  const certificateFile = join(tls, 'server.crt')
  await assert.rejects(askReceiver({ ...plain, certificateFile }, deadline()), { code: 'RECEIVER_FOREIGN', hint })
})
