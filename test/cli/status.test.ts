/** `walferry status` as a person or a program runs it: what it prints, and its exit code. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { type Finished, type Program, program, runProgram, startProgram } from '../support/walferry.ts'
import { madeStatus, storeDenied } from './made-status.ts'

const tls = join(import.meta.dirname, '../../../test/fixtures/tls')
const archive = join(import.meta.dirname, '../../../test/fixtures/walg')

/** A listener that tells a status; port 0 for any. */
async function serve(t: TestContext, status: object, port = 0): Promise<{ server: Server; address: string }> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(status))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** The same over TLS, with a certificate that names another host. */
async function serveTls(t: TestContext, status: object): Promise<string> {
  const [cert, key] = await Promise.all(['server.crt', 'server.key'].map((name) => readFile(join(tls, name), 'utf8')))
  const server = createTlsServer({ cert, key }, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(status))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Where nobody listens. */
async function deserted(t: TestContext): Promise<string> {
  const { server, address } = await serve(t, {})
  await close(server)
  return address
}

async function close(server: Server): Promise<void> {
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
}

async function status(...args: readonly string[]): Promise<Finished> {
  return await runProgram(program('walferry'), ['status', ...args], { signal: deadline() })
}

test('a receiver that answers is told, ready or not, without any escape, and the exit code is 0', async (t) => {
  const { address } = await serve(t, madeStatus({ reasons: [storeDenied] }))
  const { code, stdout, stderr } = await status('--listen', address)
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^Receiver {8}NOT READY: streaming from db\.example:5432\n/)
  assert.match(stdout, /^Loss now {8}you would lose 0\.8 s \(1\.0 MiB\)/m)
  assert.match(stdout, /^Where it hangs {2}the store: .*\[STORE_DENIED\]\n {16}hint: /m)
  assert.ok(!stdout.includes('\u001b'))
})

test('--json tells the whole status, and who speaks', async (t) => {
  const { address } = await serve(t, madeStatus())
  const { code, stdout } = await status('--json', '--listen', address)
  assert.equal(code, 0)
  assert.deepEqual(JSON.parse(stdout), { from: 'receiver', url: `http://${address}`, ...madeStatus() })
})

test('a receiver that serves TLS is asked over TLS, and trusted by its own certificate', async (t) => {
  const address = await serveTls(t, madeStatus())
  const { code, stdout, stderr } = await status('--listen', address, '--listen-tls-cert', join(tls, 'server.crt'))
  assert.deepEqual([code, stderr], [0, ''])
  assert.ok(stdout.includes(`walferry 0.1.0 at https://${address}, up `), stdout)
})

test('where no receiver answers the archive is told, and that it is the archive', async (t) => {
  const address = await deserted(t)
  const { code, stdout } = await status('--listen', address, '--store', archive)
  assert.equal(code, 0)
  const why = `no receiver answers on http://${address} (ECONNREFUSED)`
  assert.ok(stdout.startsWith(`Receiver        ${why}: this is what the archive says\n`), stdout)
  assert.match(stdout, /^Restorable to {3}2026-11-20T10:42:23\.622205Z, /m)
  const told: Readonly<Record<string, unknown>> = JSON.parse(
    (await status('--json', '--listen', address, '--store', archive)).stdout,
  )
  assert.deepEqual(
    [told['from'], told['receiver'], told['restorableTime'], told['gaps']],
    ['archive', why, '2026-11-20T10:42:23.622205Z', [{ timeline: 2, from: '0/5000000', to: '0/6000000' }]],
  )
})

test('--listen off asks nobody but the archive', async () => {
  const { code, stdout } = await status('--listen', 'off', '--store', archive)
  assert.equal(code, 0)
  assert.match(stdout, /^Receiver {8}no receiver is asked \(--listen off\): this is what the archive says\n/)
})

test('where nobody can answer it says what was tried, and what to do', async (t) => {
  const [address, folder] = [await deserted(t), await tempFolder(t)]
  const nobody = await status('--listen', address)
  assert.deepEqual([nobody.code, nobody.stdout], [1, ''])
  assert.match(
    nobody.stderr,
    /^error: no receiver answers on http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\), and no archive is named \[RECEIVER_UNREACHABLE\]\nhint: .*--listen.*--store/,
  )
  const { code, stdout, stderr } = await status('--listen', address, '--store', join(folder, 'none'))
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /^error: no receiver answers on .*, and the archive cannot be read: .*none.* \[\w+\]\nhint: /)
  const json = await status('--listen', address, '--json')
  const { from, at, error } = JSON.parse(json.stdout)
  assert.deepEqual([json.code, from, error.code], [1, null, 'RECEIVER_UNREACHABLE'])
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000)
  assert.deepEqual(
    [error.message, error.hint].map((text) => nobody.stderr.includes(text)),
    [true, true],
  )
})

test('somebody else on that port is an error, and no reason to ask the archive', async (t) => {
  const { address } = await serve(t, { status: 'UP' })
  const { code, stdout, stderr } = await status('--listen', address, '--store', archive)
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /^error: what listens on http:\S+ answers .* \[RECEIVER_FOREIGN\]\nhint: /)
})

/** The whole lines of JSON that it has printed. */
function linesOf({ stdout }: Program): { readonly from: string | null; readonly error?: { readonly code: string } }[] {
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

async function nextLineFrom(running: Program, from: string | null): Promise<void> {
  const signal = deadline()
  while (linesOf(running).at(-1)?.from !== from) {
    signal.throwIfAborted()
    if (running.hasEnded) assert.fail(`it has ended: ${running.stderr}`)
    await sleep(20)
  }
}

test('--watch --json prints line by line, goes on while the receiver is away, and ends with 0 at Ctrl-C', async (t) => {
  const { server, address } = await serve(t, madeStatus())
  const running = startProgram(program('walferry'), ['status', '--watch', '--json', '--listen', address])
  t.after(() => running.kill())
  await nextLineFrom(running, 'receiver')
  await close(server)
  await nextLineFrom(running, null)
  await serve(t, madeStatus(), Number(address.split(':')[1]))
  await nextLineFrom(running, 'receiver')
  running.sendToAll('SIGINT')
  assert.deepEqual(await running.exit, { code: 0, signal: null })
  const codes = linesOf(running).flatMap(({ error }) => (error === undefined ? [] : [error.code]))
  assert.deepEqual([...new Set(codes)], ['RECEIVER_UNREACHABLE'])
  assert.equal(running.stderr, '')
})

test('--watch without a terminal prints one picture behind the other, and an error above the last answer', async (t) => {
  const { server, address } = await serve(t, madeStatus())
  const running = startProgram(program('walferry'), ['status', '--watch', '--listen', address])
  t.after(() => running.kill())
  const signal = deadline()
  while (running.stdout.split('Receiver ').length < 3) {
    signal.throwIfAborted()
    await sleep(20)
  }
  assert.ok(!running.stdout.includes('Last answer'))
  await close(server)
  const both = /^Error {11}no receiver .*\n {16}hint: .*\nLast answer {5}.* s ago: .*\n\nReceiver {8}ready: /m
  while (!both.test(running.stdout)) {
    signal.throwIfAborted()
    await sleep(20)
  }
  running.sendToAll('SIGTERM')
  assert.deepEqual(await running.exit, { code: 0, signal: null })
  assert.ok(!running.stdout.includes('\u001b'))
})

test('--watch ends, and without complaint, when nobody reads any more', async (t) => {
  const { address } = await serve(t, madeStatus())
  const shell = `{ '${program('walferry')}' status --watch --json --listen ${address}; echo $? >&2; } | head -c 1`
  const { code, stdout, stderr } = await runProgram('sh', ['-c', shell], { signal: deadline() })
  assert.deepEqual([code, stdout, stderr], [0, '{', '0\n'])
})
