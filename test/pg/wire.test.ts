/**
 * A conversation with a real server, cut at every byte.
 *
 * What the server says is recorded on the line and replayed through pg.Client, WireConnection and Exchange, which is how
 * we notice when a new version of pg treats its undocumented parts differently.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { Exchange } from '../../src/pg/exchange.ts'
import { encodeStatus, StreamMessages, type WalListener } from '../../src/pg/stream-messages.ts'
import { WireConnection } from '../../src/pg/wire-connection.ts'
import { bytesBetween, formatLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { deferred } from '../support/deferred.ts'
import { megabyte, testVersions, value, withCluster } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** What a conversation has told: as text, to be compared. */
class Heard implements WalListener {
  readonly told: string[] = []
  keepalives = 0
  walBytes = 0
  onNews: () => void = () => undefined

  walBegins(start: Lsn, serverFlush: Lsn, sentAtMs: number): void {
    this.told.push(`wal ${formatLsn(start)} ${formatLsn(serverFlush)} ${sentAtMs} `)
  }

  wal(bytes: Buffer): void {
    this.walBytes += bytes.length
    this.told.push(`${this.told.pop()}${bytes.toString('latin1')}`)
  }

  keepalive(position: Lsn, sentAtMs: number, replyRequested: boolean): void {
    this.keepalives++
    this.told.push(`keepalive ${formatLsn(position)} ${sentAtMs} ${replyRequested}`)
  }

  batchEnd(): void {
    this.onNews()
  }
}

/** An exchange that is followed by the next one at once, in the same turn: both answers may lie in one chunk. */
class Linked extends Exchange {
  next: (() => void) | null = null

  override handleReadyForQuery(): void {
    super.handleReadyForQuery()
    this.next?.()
  }
}

interface Conversation {
  readonly heard: Heard
  readonly stream: Linked
  /** Resolves with everything that was told, once the last answer has come. */
  readonly outcome: Promise<string[]>
}

/** Asks who the server is and for a setting, then streams from `start` on. */
function converse(client: pg.Client, start: Lsn, onStream: () => void): Conversation {
  const heard = new Heard()
  const identify = new Linked('IDENTIFY_SYSTEM')
  const show = new Linked('SHOW wal_segment_size')
  const text = `START_REPLICATION PHYSICAL ${formatLsn(start)} TIMELINE 1`
  const stream = new Linked(text, { sink: new StreamMessages(heard), onStream })
  identify.next = () => client.query(show)
  show.next = () => client.query(stream)
  client.query(identify)
  const outcome = Promise.all([identify.done, show.done, stream.done]).then((exchanges) => [
    ...heard.told,
    ...exchanges.map(({ results, tags }) => JSON.stringify({ results, tags })),
  ])
  return { heard, stream, outcome }
}

interface Recording {
  readonly bytes: Buffer
  readonly start: Lsn
  readonly outcome: readonly string[]
}

/** A few kilobytes of WAL in several messages, keepalives, and our polite end, over a line that records. */
async function record(
  t: TestContext,
  server: pg.Client,
  place: { host: string; port: number; user: string },
): Promise<Recording> {
  const proxy = await TcpProxy.open(t, place)
  const connection = new WireConnection({ ssl: false })
  const to = { ...place, host: proxy.host, port: proxy.port, database: 'replication' }
  const config = { ...to, password: '', ssl: false, replication: 'true', connection }
  const client = new pg.Client(config)
  client.on('error', () => undefined)
  await client.connect()
  const start = parseLsn(await value(server, 'SELECT pg_current_wal_flush_lsn()'))
  const streaming = deferred()
  const { heard, stream, outcome } = converse(client, start, streaming.resolve)
  await streaming.promise
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise<void>((resolve) => (heard.onNews = resolve))
  }
  for (let n = 1; n <= 3; n++) {
    // A message of its own for each, of sizes on both sides of one that fits a small buffer.
    const end = parseLsn(
      await value(server, `SELECT pg_logical_emit_message(false, 'walferry', repeat('x', ${n * 500}))`),
    )
    await server.query('CHECKPOINT')
    await until(() => heard.walBytes >= bytesBetween(start, end))
    const status = { written: end, flushed: end, wantReply: true }
    connection.sendCopyData(encodeStatus(status, Date.now()))
    await until(() => heard.keepalives >= n)
  }
  stream.stop()
  const told = await outcome
  await client.end()
  return { bytes: proxy.lines[0]?.fromServer ?? Buffer.alloc(0), start, outcome: told }
}

/** The server's side of a recorded line: says what it is told to, and takes everything without a word. */
class FakeSocket extends Duplex {
  connect(): void {
    this.emit('connect')
  }
  setNoDelay(): void {}
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done()
  }
}

/** Plays the recorded bytes to a new client, a chunk a turn. */
async function replay(recording: Recording, chunks: readonly Buffer[]): Promise<string[]> {
  const socket = new FakeSocket()
  const config = {
    user: 'u',
    password: '',
    ssl: false,
    connection: new WireConnection({ ssl: false, stream: () => socket }),
  }
  const client = new pg.Client(config)
  client.on('error', () => undefined)
  const conversation = deferred<Conversation>()
  // In the same turn as the server's first "ready": what was recorded goes straight on.
  client.once('connect', () => conversation.resolve(converse(client, recording.start, () => undefined)))
  const connected = client.connect()
  for (const chunk of chunks) socket.emit('data', chunk)
  await connected
  const told = await (await conversation.promise).outcome
  socket.destroy()
  await once(socket, 'close')
  return told
}

for (const version of await testVersions()) {
  test(`a recorded conversation tells the same wherever it is cut (PostgreSQL ${version.major})`, async (t) => {
    await withCluster({ version, segmentBytes: megabyte }, async (cluster, server) => {
      const recording = await record(t, server, cluster.connection)
      const { bytes, outcome } = recording
      assert.ok(outcome.filter((line) => line.startsWith('keepalive')).length >= 3)
      assert.ok(outcome.filter((line) => line.startsWith('wal')).length >= 3)
      assert.match(outcome.at(-1) ?? '', /"tags":\["START_STREAMING","START_REPLICATION"\]/)
      assert.deepEqual(await replay(recording, [bytes]), outcome, 'in one piece')
      for (let cut = 1; cut < bytes.length; cut++) {
        const told = await replay(recording, [bytes.subarray(0, cut), bytes.subarray(cut)])
        assert.deepEqual(told, outcome, `cut at byte ${cut} of ${bytes.length}`)
      }
      const singles = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
      assert.deepEqual(await replay(recording, singles), outcome, 'byte by byte')
      t.diagnostic(`${bytes.length - 1} cut points`)
    })
  })
}
