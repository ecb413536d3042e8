/** Reads what went over a proxy. */
import { asLsn, type Lsn } from '../../src/wal/lsn.ts'
import type { Line } from '../support/tcp-proxy.ts'

export interface Status {
  readonly written: Lsn
  readonly flushed: Lsn
  readonly applied: Lsn
}

/** The payloads of all whole CopyData messages, from byte `at` on: a type, a length that counts itself, the payload. */
function* copyDataIn(bytes: Buffer, at: number): Generator<Buffer> {
  while (at + 5 <= bytes.length) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) return
    if (bytes[at] === 0x64) yield bytes.subarray(at + 5, end)
    at = end
  }
}

/** Every standby status update that the client has sent. */
export function statusesOn(line: Line): Status[] {
  const bytes = line.fromClient
  // The first message, for the start of a session, has no type.
  const payloads = bytes.length < 4 ? [] : [...copyDataIn(bytes, bytes.readInt32BE(0))]
  return payloads
    .filter((payload) => payload[0] === 0x72)
    .map((payload) => ({
      written: asLsn(payload.readBigUInt64BE(1)),
      flushed: asLsn(payload.readBigUInt64BE(9)),
      applied: asLsn(payload.readBigUInt64BE(17)),
    }))
}

/** How many keepalives the server has sent. */
export function keepalivesOn(line: Line): number {
  return [...copyDataIn(line.fromServer, 0)].filter((payload) => payload[0] === 0x6b).length
}
