/**
 * The header of a tar member, in the ustar form of POSIX.1-1988 that PostgreSQL (src/port/tar.c) and WAL-G write: 512 bytes
 * with
 *
 *     0    name, up to 100 bytes     100  mode     124  size, octal digits, or base 256 for 8 GiB and more
 *     148  sum of all bytes, these eight taken as spaces
 *     156  type     157  where a link leads     257  "ustar" and a zero     345  prefix, joined to the name by a slash
 *
 * The content follows, filled up to whole blocks.
 */
export const blockBytes = 512

/** What ends an archive: two blocks of zeros. */
export const archiveEnd: Uint8Array = Buffer.alloc(2 * blockBytes)

/** As it is written there; what it may be is for others to say. */
export interface TarHeader {
  readonly name: string
  readonly prefix: string
  /** One character; '0' also for a file in the old spelling. */
  readonly type: string
  readonly mode: number
  readonly bytes: number
  readonly link: string
}

interface Field {
  readonly at: number
  readonly bytes: number
}

const name: Field = { at: 0, bytes: 100 }
const mode: Field = { at: 100, bytes: 8 }
const size: Field = { at: 124, bytes: 12 }
const sum: Field = { at: 148, bytes: 8 }
const typeAt = 156
const link: Field = { at: 157, bytes: 100 }
const magic: Field = { at: 257, bytes: 6 }
/** Of GNU's own form, which has something else where the prefix is. */
const gnuMagic = 'ustar '
const prefix: Field = { at: 345, bytes: 155 }

/** Makes the error for a header that has `what`. */
export type Strange = (what: string) => Error

/** Null for a block of zeros. Throws what `strange` makes of it where the sum, the form or a number is none. */
export function readHeader(header: Buffer, strange: Strange): TarHeader | null {
  if (header.every((byte) => byte === 0)) return null
  if (numberIn(header, sum, strange) !== sumOf(header)) throw strange('a header with a wrong sum')
  const form = header.toString('latin1', magic.at, magic.at + magic.bytes)
  if (form !== 'ustar\0' && form !== gnuMagic) throw strange('a header of another form than ustar')
  const type = String.fromCharCode(header[typeAt] ?? 0)
  return {
    name: textIn(header, name),
    prefix: form === gnuMagic ? '' : textIn(header, prefix),
    type: type === '\0' ? '0' : type,
    mode: numberIn(header, mode, strange),
    bytes: numberIn(header, size, strange),
    link: textIn(header, link),
  }
}

/** Moves a member into a folder. It stands in the field made for that, so the name keeps its place. */
export function moveInto(header: Buffer, folder: string, strange: Strange): void {
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

function textIn(header: Buffer, field: Field): string {
  const end = header.indexOf(0, field.at)
  const last = field.at + field.bytes
  return header.toString('utf8', field.at, end === -1 || end > last ? last : end)
}

function numberIn(header: Buffer, field: Field, strange: Strange): number {
  const bytes = header.subarray(field.at, field.at + field.bytes)
  if (bytes[0] === 0x80) {
    const number = BigInt(`0x${bytes.toString('hex', 1)}`)
    if (number > Number.MAX_SAFE_INTEGER) throw strange(`a number of ${number}`)
    return Number(number)
  }
  const digits = /^ *([0-7]+)[ \0]*$/.exec(bytes.toString('latin1'))?.[1]
  if (digits === undefined) throw strange(`the number ${JSON.stringify(bytes.toString('latin1'))}`)
  return Number.parseInt(digits, 8)
}
