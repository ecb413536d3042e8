import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { createConnection, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import * as v from 'valibot'
import { isError } from '../../src/kit/errors.ts'
import { type Listener, type ListenOptions, listen } from '../../src/serve/listener.ts'
import type { Reason, Served } from '../../src/serve/routes.ts'
import { statusSchema } from '../../src/serve/status.ts'
import { emptyStatus } from './statuses.ts'
import { deadline } from '../support/postgres.ts'

const quiet: Served = {
  contentType: 'text/plain; version=0.0.4',
  metrics: async () => 'up 1\n',
  reasons: () => [],
  status: async () => emptyStatus,
  history: () => assert.fail('not asked for'),
  archive: () => assert.fail('not asked for'),
}

const say = (): void => undefined
const loopback: ListenOptions = {
  host: '127.0.0.1',
  port: 0,
  tls: null,
  log: { error: say, warn: say, info: say, debug: say },
}

async function open(t: TestContext, served: Partial<Served> = {}): Promise<Listener> {
  const listener = await listen(loopback, { ...quiet, ...served })
  t.after(() => listener.close())
  return listener
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One request on a connection of its own, which nothing keeps open afterwards. */
async function ask(listener: Listener, path: string, method = 'GET'): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asking = request(listener.url + path, { method, agent: false, signal: deadline() }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    })
    asking.on('error', reject).end()
  })
}

/** A connection that says something and then waits; resolves with all that came until it was closed. */
async function raw(listener: Listener, text: string): Promise<string> {
  const socket = createConnection(Number(new URL(listener.url).port), '127.0.0.1')
  socket.on('error', () => undefined).write(text)
  let heard = ''
  socket.setEncoding('latin1').on('data', (some: string) => {
    heard += some
  })
  await once(socket, 'close', { signal: deadline() })
  return heard
}

test('/metrics tells the metrics as they are at that moment', async (t) => {
  let n = 0
  const listener = await open(t, { metrics: async () => `looked ${++n}\n` })
  for (const expected of ['looked 1\n', 'looked 2\n']) {
    const answer = await ask(listener, '/metrics')
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4')
    assert.equal(answer.body, expected)
  }
})

test('/healthz says that the process answers, also while it is not ready', async (t) => {
  const listener = await open(t, { reasons: () => [{ code: 'SPOOL_FAILED', message: 'no' }] })
  const answer = await ask(listener, '/healthz')
  assert.equal(answer.status, 200)
  assert.deepEqual(JSON.parse(answer.body), { healthy: true })
})

test('/readyz is 200 while there is no reason against it, and 503 with the reasons while there are', async (t) => {
  let reasons: Reason[] = []
  const listener = await open(t, { reasons: () => reasons })
  const ready = await ask(listener, '/readyz')
  assert.equal(ready.status, 200)
  assert.equal(ready.headers['content-type'], 'application/json')
  assert.deepEqual(JSON.parse(ready.body), { ready: true, reasons: [] })
  reasons = [
    { code: 'STORE_UNREACHABLE', message: 's3://bücket: "no" answer', hint: 'Wait.' },
    { code: 'NOT_STREAMING', message: 'the receiver is waiting' },
  ]
  const notReady = await ask(listener, '/readyz')
  assert.equal(notReady.status, 503)
  assert.deepEqual(JSON.parse(notReady.body), { ready: false, reasons })
})

test('/status.json tells the status as JSON that its schema takes', async (t) => {
  const answer = await ask(await open(t), '/status.json')
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.deepEqual(v.parse(statusSchema, JSON.parse(answer.body)), emptyStatus)
})

test('a query string does not matter', async (t) => {
  const listener = await open(t)
  assert.equal((await ask(listener, '/healthz?verbose=1')).status, 200)
})

for (const path of ['/metrics', '/healthz', '/readyz', '/status.json']) {
  test(`HEAD ${path} answers as GET does, without the body`, async (t) => {
    const listener = await open(t)
    const [head, get] = [await ask(listener, path, 'HEAD'), await ask(listener, path)]
    assert.equal(head.body, '')
    assert.equal(head.status, get.status)
    assert.equal(head.headers['content-length'], String(Buffer.byteLength(get.body)))
    assert.equal(head.headers['content-type'], get.headers['content-type'])
  })
}

for (const path of ['/page/', '/metrics/', '/Metrics', '/healthz/x', '/..%2fmetrics', '/favicon.ico']) {
  test(`${path} is not there, and the answer says what is`, async (t) => {
    const answer = await ask(await open(t), path)
    assert.equal(answer.status, 404)
    assert.match(answer.body, /There are \/metrics, .* and \//)
  })
}

for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
  test(`${method} is refused, and the answer says what is not`, async (t) => {
    const listener = await open(t)
    const answer = await ask(listener, '/metrics', method)
    assert.equal(answer.status, 405)
    assert.equal(answer.headers['allow'], 'GET, HEAD')
    assert.equal((await ask(listener, '/healthz')).status, 200, 'and the listener goes on')
  })
}

test('a failure while answering is 500, says nothing of its insides, and the listener goes on', async (t) => {
  const failing: Partial<Served> = {
    metrics: async () => Promise.reject(new Error('secret')),
    reasons: () => {
      throw new Error('secret')
    },
  }
  const listener = await open(t, failing)
  for (const path of ['/metrics', '/readyz']) {
    const answer = await ask(listener, path)
    assert.equal(answer.status, 500)
    assert.equal(answer.body, '')
  }
  assert.equal((await ask(listener, '/healthz')).status, 200)
})

test('a head that is too long, and one that is no HTTP, are refused, and the connection is closed', async (t) => {
  const listener = await open(t)
  assert.match(await raw(listener, `GET /metrics HTTP/1.1\r\nX: ${'x'.repeat(9000)}\r\n\r\n`), /^HTTP\/1\.1 431/)
  assert.match(await raw(listener, 'hello\r\n\r\n'), /^HTTP\/1\.1 400/)
})

test('a client that says its head slowly, or nothing at all, is closed after some seconds', async (t) => {
  const listener = await open(t)
  const slow = raw(listener, 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ')
  const silent = raw(listener, '')
  assert.match(await slow, /^HTTP\/1\.1 408/)
  assert.match(await silent, /^(?:HTTP\/1\.1 408|$)/)
})

test('200 connections that say nothing, and go on coming, keep nobody from an answer', async (t) => {
  const listener = await open(t)
  const port = Number(new URL(listener.url).port)
  const sockets: Socket[] = []
  t.after(() => sockets.forEach((socket) => socket.destroy()))
  const connect = async (): Promise<void> => {
    const socket = createConnection(port, '127.0.0.1').on('error', () => undefined)
    sockets.push(socket)
    await once(socket, 'connect')
  }
  for (let n = 0; n < 200; n++) {
    await connect()
    if (n % 20 === 19) assert.equal((await ask(listener, '/metrics')).status, 200)
  }
  const signal = deadline()
  while (sockets.filter((socket) => !socket.closed).length > 64) {
    signal.throwIfAborted()
    await new Promise(setImmediate)
  }
  assert.equal(sockets[0]?.closed, true, 'those go first of which nothing was heard for longest')
  assert.equal(sockets.at(-1)?.closed, false)
})

test('nothing is cached, framed, or taken for something else', async (t) => {
  const listener = await open(t)
  for (const path of ['/metrics', '/readyz', '/status.json', '/', '/nowhere']) {
    const { headers } = await ask(listener, path)
    assert.equal(headers['cache-control'], 'no-store', path)
    assert.equal(headers['x-content-type-options'], 'nosniff', path)
    assert.match(String(headers['content-security-policy']), /default-src 'none'.*frame-ancestors 'none'/, path)
  }
})

test('close ends connections that idle or wait for an answer, leaves no handle, and may come twice', async () => {
  await noHandles() // what the tests before have closed is gone
  const answering = new Promise<string>(() => undefined)
  const listener = await listen(loopback, { ...quiet, metrics: () => answering })
  const port = Number(new URL(listener.url).port)
  const idle = createConnection(port, '127.0.0.1')
  await once(idle, 'connect')
  const waiting = request(`${listener.url}/metrics`, { agent: false })
  waiting.end()
  await once(waiting, 'socket')
  const ended = Promise.all([once(idle, 'close'), once(waiting, 'error')])
  assert.equal((await ask(listener, '/healthz')).status, 200)
  await listener.close()
  await listener.close()
  await ended
  await noHandles()
  await assert.rejects(once(createConnection(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
})

/** Resolves once no socket and no server is open in this process. */
async function noHandles(): Promise<void> {
  const signal = deadline()
  while (process.getActiveResourcesInfo().some((kind) => kind.startsWith('TCP'))) {
    signal.throwIfAborted()
    await new Promise(setImmediate)
  }
}

test('the URL tells the address, in brackets where it is of IPv6', async (t) => {
  const listener = await open(t)
  assert.match(listener.url, /^http:\/\/127\.0\.0\.1:\d+$/)
  const six = await listen({ ...loopback, host: '::1' }, quiet).catch(() => null)
  if (six === null) {
    t.diagnostic('this machine has no IPv6')
    return
  }
  t.after(() => six.close())
  assert.match(six.url, /^http:\/\/\[::1\]:\d+$/)
  assert.equal((await ask(six, '/healthz')).status, 200)
})

test('an address that is taken, and one that is not ours, are refused with a hint', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await once(other, 'listening')
  const address = other.address()
  assert.ok(address !== null && typeof address === 'object')
  for (const [host, port] of [
    ['127.0.0.1', address.port],
    ['192.0.2.1', 9868],
  ] as const) {
    await assert.rejects(
      listen({ ...loopback, host, port }, quiet),
      (error) =>
        isError(error, 'BAD_INPUT') && error.message.includes(`${host}:${port}`) && /--listen/.test(error.hint ?? ''),
    )
  }
})
