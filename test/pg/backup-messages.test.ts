import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { backupCommand, backupRefusal } from '../../src/pg/base-backup.ts'
import { type BackupEvent, type BackupPart, PlainCopies, TaggedCopy } from '../../src/pg/backup-messages.ts'
import type { CopyOut } from '../../src/pg/exchange.ts'
import { type CopySink, Framer } from '../../src/pg/framing.ts'

const parts: readonly BackupPart[] = [
  { oid: '16384', location: '/mnt/fast', estimatedBytes: 4096 },
  { oid: null, location: null, estimatedBytes: 8192 },
]

/** What was told, with the data of one object put together. */
type Told = readonly (readonly [string, string])[]

/** A framer and the copies behind it, as a connection has them: `H` opens a CopyOut, `c` ends it. */
class Harness {
  readonly #told: [string, string][] = []
  readonly #framer: Framer

  constructor(Copies: typeof PlainCopies | typeof TaggedCopy) {
    const copies: CopyOut = new Copies(
      () => parts,
      (event) => this.#take(event),
    )
    this.#framer = new Framer((message) => {
      const type = String.fromCharCode(message[0] ?? 0)
      const sink: CopySink | null = type === 'H' ? copies.begins() : null
      if (type === 'c') copies.ends()
      if (type === 'H' || type === 'c') this.#framer.sink = sink
    })
  }

  feed(...chunks: readonly Buffer[]): Told {
    for (const chunk of chunks) this.#framer.feed(chunk)
    return this.#told
  }

  #take(event: BackupEvent): void {
    const last = this.#told.at(-1)
    if (event.kind === 'archive') this.#told.push([`archive ${event.oid}`, ''])
    else if (event.kind === 'manifest') this.#told.push(['manifest', ''])
    else if (last !== undefined) last[1] += event.bytes.toString('latin1')
    else assert.fail('data before anything began')
  }
}

function message(type: string, body: string | Buffer): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(4 + bytes.length, 1)
  return Buffer.concat([head, bytes])
}

const copyOut = message('H', Buffer.from([0, 0, 0]))
const copyDone = message('c', '')

const plain = Buffer.concat([
  copyOut,
  message('d', 'fast bytes'),
  message('d', ''),
  message('d', ' and more'),
  copyDone,
  copyOut,
  message('d', 'base'),
  copyDone,
  copyOut,
  message('d', '{"manifest"'),
  message('d', '}'),
  copyDone,
])
const progress = Buffer.concat([Buffer.from('p'), Buffer.alloc(8, 1)])
const tagged = Buffer.concat([
  copyOut,
  message('d', 'n16384.tar\0/mnt/fast\0'),
  message('d', 'dfast bytes'),
  message('d', progress),
  message('d', 'd'),
  message('d', 'd and more'),
  message('d', 'nbase.tar\0\0'),
  message('d', 'dbase'),
  message('d', 'm'),
  message('d', 'd{"manifest"'),
  message('d', 'd}'),
  copyDone,
])
const expected: Told = [
  ['archive 16384', 'fast bytes and more'],
  ['archive null', 'base'],
  ['manifest', '{"manifest"}'],
]

for (const [name, Copies, bytes] of [
  ['13 and 14', PlainCopies, plain],
  ['15 and later', TaggedCopy, tagged],
] as const) {
  test(`a base backup of ${name} is the same however it is cut`, () => {
    assert.deepEqual(new Harness(Copies).feed(bytes), expected)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const told = new Harness(Copies).feed(bytes.subarray(0, cut), bytes.subarray(cut))
      assert.deepEqual(told, expected, `cut at ${cut} of ${bytes.length}`)
    }
    assert.deepEqual(new Harness(Copies).feed(...Array.from(bytes, (byte) => Buffer.from([byte]))), expected)
  })
}

const refusals: readonly (readonly [string, typeof PlainCopies | typeof TaggedCopy, readonly Buffer[]])[] = [
  ['a stream behind the manifest', PlainCopies, [copyOut, copyDone, copyOut, copyDone, copyOut, copyDone, copyOut]],
  ['data before an archive', TaggedCopy, [copyOut, message('d', 'dbytes')]],
  ['an archive that the header has not named', TaggedCopy, [copyOut, message('d', 'n16385.tar\0/x\0')]],
  ['an archive in another folder', TaggedCopy, [copyOut, message('d', 'n../base.tar\0\0')]],
  ['an archive without a name', TaggedCopy, [copyOut, message('d', 'nbase.tar')]],
  ['an unknown message', TaggedCopy, [copyOut, message('d', 'x')]],
  ['an empty message', TaggedCopy, [copyOut, message('d', '')]],
  ['a name without end', TaggedCopy, [copyOut, message('d', `n${'a'.repeat(70_000)}`)]],
]
for (const [what, Copies, messages] of refusals) {
  test(`${what} is refused`, () => {
    assert.throws(
      () => new Harness(Copies).feed(...messages),
      (error) => isError(error, 'PG_PROTOCOL'),
    )
  })
}

test('the command is written in the grammar of the version', () => {
  const plainest = { label: "it's", fast: false, maxRate: null, verifyChecksums: true }
  const all = { label: 'a', fast: true, maxRate: 32, verifyChecksums: false }
  const rest = "MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'"
  assert.equal(backupCommand(13, plainest), `BASE_BACKUP LABEL 'it''s' PROGRESS NOWAIT TABLESPACE_MAP ${rest}`)
  assert.equal(
    backupCommand(14, all),
    `BASE_BACKUP LABEL 'a' PROGRESS FAST NOWAIT MAX_RATE 32 TABLESPACE_MAP NOVERIFY_CHECKSUMS ${rest}`,
  )
  const last = "MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C'"
  assert.equal(
    backupCommand(15, plainest),
    `BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'spread', WAIT 0, TABLESPACE_MAP, ${last})`,
  )
  assert.equal(
    backupCommand(18, all),
    `BASE_BACKUP (LABEL 'a', PROGRESS, CHECKPOINT 'fast', WAIT 0, MAX_RATE 32, TABLESPACE_MAP, VERIFY_CHECKSUMS 0, ${last})`,
  )
})

/** As pg rejects with what a server says. */
function said(code: string, message: string, hint?: string): Error {
  return Object.assign(new Error(message), { code, severity: 'ERROR', ...(hint === undefined ? {} : { hint }) })
}

test('what a server refuses is told with what to do about it', () => {
  const pages = ['checksum verification failed in file "./base/5/16384", block 1: calculated 9 but expected 2']
  const damaged = backupRefusal(said('XX001', 'checksum verification failure during base backup'), 'db:5432', pages)
  assert.equal(damaged.code, 'PG_DAMAGED')
  assert.match(damaged.message, /db:5432.*verification failure.*base\/5\/16384/)
  assert.match(damaged.hint ?? '', /--no-verify-checksums/)
  const hint = 'Enable "full_page_writes" and run CHECKPOINT on the primary.'
  const standby = backupRefusal(said('55000', 'WAL generated with full_page_writes=off', hint), 'db:5432', [])
  assert.deepEqual([standby.code, standby.hint], ['PG_REFUSED', hint])
  assert.equal(backupRefusal(said('55000', 'no hint'), 'db:5432', []).hint, undefined)
  assert.match(backupRefusal(said('42501', 'permission denied'), 'db:5432', []).hint ?? '', /REPLICATION/)
})
