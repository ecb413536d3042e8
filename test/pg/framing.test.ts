import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CopySink, Framer } from '../../src/pg/framing.ts'
import { isError } from '../../src/kit/errors.ts'
import { type Random, seededRandom } from '../support/random.ts'

/** What came out, in order: whole messages, and payloads of CopyData put together again. */
type Told = readonly ['message' | 'payload', string]

/** A framer as pg uses it: `W` (CopyBoth response) opens the stream, `c` (CopyDone) ends it. */
class Harness implements CopySink {
  readonly told: Told[] = []
  batches = 0
  readonly framer = new Framer((message) => {
    this.told.push(['message', message.toString('latin1')])
    if (message[0] === 0x57) this.framer.sink = this
    if (message[0] === 0x63) this.framer.sink = null
  })
  #payload: Buffer[] | null = null

  copyData(fragment: Buffer, first: boolean, last: boolean): void {
    assert.equal(this.#payload === null, first, 'a payload begins with its first fragment, and with no other')
    this.#payload = [...(this.#payload ?? []), fragment]
    assert.ok(fragment.length > 0 || (first && last), 'only an empty payload has an empty fragment')
    if (!last) return
    this.told.push(['payload', Buffer.concat(this.#payload).toString('latin1')])
    this.#payload = null
  }

  batchEnd(): void {
    this.batches++
  }

  feed(...chunks: readonly Buffer[]): this {
    for (const chunk of chunks) this.framer.feed(chunk)
    return this
  }
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

const empty = Buffer.alloc(0)
const copyBoth = message('W', Buffer.from([0, 0, 0]))
const copyDone = message('c', empty)

function randomConversation(random: Random): Buffer[] {
  const messages: Buffer[] = []
  for (let streams = 0; streams < 3; streams++) {
    for (let i = random.below(4); i > 0; i--)
      messages.push(message(random.pick(['T', 'D', 'C', 'Z', 'd']), random.bytes(random.below(40))))
    messages.push(copyBoth)
    for (let i = random.below(6); i > 0; i--) {
      const payload = random.bytes(random.pick([0, 0, 1, 2, 25, 26, 300]))
      messages.push(message(random.pick(['d', 'd', 'd', 'N']), payload))
    }
    messages.push(copyDone)
  }
  return messages
}

/** What must come out, told by the grammar and not by the code under test. */
function expected(messages: readonly Buffer[]): Told[] {
  let streaming = false
  return messages.map((one) => {
    const type = String.fromCharCode(one[0] ?? 0)
    if (type === 'W') streaming = true
    if (type === 'c') streaming = false
    return type === 'd' && streaming
      ? (['payload', one.subarray(5).toString('latin1')] as const)
      : (['message', one.toString('latin1')] as const)
  })
}

test('every cut in two gives the same messages and payloads', (t) => {
  const messages = randomConversation(seededRandom(t))
  const bytes = Buffer.concat(messages)
  for (let cut = 0; cut <= bytes.length; cut++) {
    const { told } = new Harness().feed(bytes.subarray(0, cut), bytes.subarray(cut))
    assert.deepEqual(told, expected(messages), `cut at ${cut} of ${bytes.length}`)
  }
  t.diagnostic(`${bytes.length + 1} cut points`)
})

test('any split of any conversation gives the same messages and payloads', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 300; round++) {
    const messages = randomConversation(random)
    const bytes = Buffer.concat(messages)
    const longest = random.pick([1, 2, 7, 64, 1000])
    const harness = new Harness()
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + random.below(longest)
      harness.feed(bytes.subarray(at, end))
      at = end
    }
    assert.deepEqual(harness.told, expected(messages), `round ${round}`)
  }
})

test('a stream that opens in the middle of a chunk gets the payloads that came with it', () => {
  const { told } = new Harness().feed(Buffer.concat([copyBoth, message('d', Buffer.from('wal'))]))
  assert.deepEqual(told.at(-1), ['payload', 'wal'])
})

test('an empty payload is told, also where its head ends a chunk', () => {
  const harness = new Harness().feed(copyBoth, message('d', empty))
  assert.deepEqual(harness.told.at(-1), ['payload', ''])
  const bytes = Buffer.concat([message('d', empty), message('d', Buffer.from('x'))])
  harness.feed(bytes.subarray(0, 4), bytes.subarray(4, 5), bytes.subarray(5))
  assert.deepEqual(harness.told.slice(2), [
    ['payload', ''],
    ['payload', 'x'],
  ])
})

test('without a stream, CopyData is a message like any other', () => {
  const data = message('d', Buffer.from('row'))
  assert.deepEqual(new Harness().feed(data).told, [['message', data.toString('latin1')]])
})

test('the end of a batch is told once for a chunk, after all of it', () => {
  const harness = new Harness().feed(copyBoth)
  assert.equal(harness.batches, 1)
  harness.feed(Buffer.concat([message('d', Buffer.from('a')), message('d', Buffer.from('b'))]))
  assert.equal(harness.batches, 2)
  harness.feed(message('d', Buffer.from('c')).subarray(0, 3))
  assert.equal(harness.batches, 3)
})

test('a stream that ends in the middle of a chunk still hears the end of the batch that came before', () => {
  const harness = new Harness().feed(copyBoth)
  const before = harness.batches
  harness.feed(Buffer.concat([message('d', Buffer.from('last bytes')), copyDone]))
  assert.deepEqual(harness.told.at(-2), ['payload', 'last bytes'])
  assert.equal(harness.batches, before + 1)
})

test('a fragment is a view of the chunk: nothing is copied', () => {
  const chunk = message('d', Buffer.from('payload'))
  const fragments: Buffer[] = []
  const framer = new Framer(() => undefined)
  framer.sink = { copyData: (fragment) => fragments.push(fragment), batchEnd: () => undefined }
  framer.feed(chunk)
  assert.equal(fragments[0]?.buffer, chunk.buffer)
  assert.equal(fragments[0]?.toString(), 'payload')
})

const maxWholeBytes = 64 * 1024 * 1024
for (const [name, type, length, streaming] of [
  ['that does not even count itself', 'D', 3, false],
  ['that is negative', 'D', -1, false],
  ['beyond what a server says to us', 'D', 4 + maxWholeBytes + 1, false],
  ['of CopyData that is to be kept whole, beyond it', 'd', 4 + maxWholeBytes + 1, false],
  ['of streamed CopyData that does not count itself', 'd', 0, true],
  // What an HTTP server answers: "HTTP/1.1 400".
  ['that is text', 'H', 0x5454502f, false],
] as const) {
  test(`a length ${name} is refused before anything is allocated for it`, () => {
    const harness = new Harness()
    if (streaming) harness.feed(copyBoth)
    const head = Buffer.alloc(5)
    head.write(type, 'latin1')
    head.writeInt32BE(length, 1)
    assert.throws(
      () => harness.feed(head),
      (error) => isError(error, 'PG_PROTOCOL') && error.hint !== undefined,
    )
  })
}

test('streamed CopyData may be as long as a length can say', () => {
  const head = Buffer.from([0x64, 0x7f, 0xff, 0xff, 0xff])
  new Harness().feed(copyBoth, head, Buffer.from('its first bytes'))
})
