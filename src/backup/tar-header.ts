/**
 * The header of a tar member, as PostgreSQL writes it (src/port/tar.c, tarCreateHeader): 512 bytes in the ustar form of
 * POSIX.1-1988, with
 *
 *     0    name, up to 99 bytes and a zero      124  size, 11 octal digits, or base 256 for 8 GiB and more
 *     156  type: 0 file, 2 symbolic link, 5 folder
 *     148  sum of all bytes, these eight taken as spaces      345  prefix, joined to the name by a slash: empty
 *
 * A longer name makes PostgreSQL refuse the backup, so its archives have no extended headers.
 */
import { WalferryError } from '../kit/errors.ts'

export const blockBytes = 512

/** What ends an archive: two blocks of zeros. */
export const archiveEnd: Uint8Array = Buffer.alloc(2 * blockBytes)

export interface Member {
  readonly name: string
  /** Bytes of its content, which is filled up to whole blocks. */
  readonly bytes: number
}

const name = { at: 0, bytes: 100 }
const size = { at: 124, bytes: 12 }
const sum = { at: 148, bytes: 8 }
const typeAt = 156
const prefix = { at: 345, bytes: 155 }
/** Files, files in an old spelling, links and folders. */
const knownTypes = ['0', '\0', '2', '5']

/** Null for a block of zeros. Throws PG_PROTOCOL for what PostgreSQL does not write. */
export function readMember(header: Buffer): Member | null {
  if (header.every((byte) => byte === 0)) return null
  if (numberIn(header, sum) !== sumOf(header)) throw strange('a header with a wrong sum')
  const type = String.fromCharCode(header[typeAt] ?? 0)
  if (!knownTypes.includes(type)) throw strange(`a member of type ${JSON.stringify(type)}`)
  if (textIn(header, prefix) !== '') throw strange('a name in two parts')
  const called = textIn(header, name)
  const parts = called.replace(/\/$/, '').split('/')
  if (parts.some((part) => part === '' || part === '..')) throw strange(`a member named ${JSON.stringify(called)}`)
  // The server sends what lies in its folder, as it is; but a name that is no text could not be restored.
  if (called.includes('\uFFFD')) throw notText(called)
  return { name: called, bytes: type === '0' || type === '\0' ? numberIn(header, size) : 0 }
}

/** Moves a member into a folder. It stands in the field made for that, so the name keeps its place. */
export function moveInto(header: Buffer, folder: string): void {
  if (Buffer.byteLength(folder) > prefix.bytes) throw strange(`a folder named ${JSON.stringify(folder)}`)
  header.fill(0, prefix.at, prefix.at + prefix.bytes)
  header.write(folder, prefix.at)
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, sum.at, 'latin1')
}

/** Bytes of a content in whole blocks. */
export function inBlocks(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes
}

function sumOf(header: Buffer): number {
  let total = 0
  for (let at = 0; at < blockBytes; at++) {
    total += at >= sum.at && at < sum.at + sum.bytes ? 0x20 : (header[at] ?? 0)
  }
  return total
}

function textIn(header: Buffer, field: { at: number; bytes: number }): string {
  const end = header.indexOf(0, field.at)
  const last = field.at + field.bytes
  return header.toString('utf8', field.at, end === -1 || end > last ? last : end)
}

function numberIn(header: Buffer, field: { at: number; bytes: number }): number {
  const bytes = header.subarray(field.at, field.at + field.bytes)
  if (bytes[0] === 0x80) {
    const number = Number(bytes.readBigUInt64BE(field.bytes - 8))
    if (!Number.isSafeInteger(number)) throw strange(`a number of ${number}`)
    return number
  }
  const digits = /^ *([0-7]+)[ \0]*$/.exec(bytes.toString('latin1'))?.[1]
  if (digits === undefined) throw strange(`the number ${JSON.stringify(bytes.toString('latin1'))}`)
  return Number.parseInt(digits, 8)
}

function notText(called: string): WalferryError {
  const message = `the server has a file whose name is not UTF-8: ${JSON.stringify(called)}`
  return new WalferryError('PG_PROTOCOL', message, {
    hint: 'PostgreSQL makes no such file: rename it, or move it out of the data folder, and take the backup again.',
  })
}

export function strange(what: string): WalferryError {
  return new WalferryError('PG_PROTOCOL', `the tar archive that the server sends has ${what}`)
}
