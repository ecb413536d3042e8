/**
 * The members of a tar file, one after the other. Only what a backup holds is let through: files, folders, and the
 * links of tablespaces; anything else is refused, and so is a file that is cut.
 *
 * Contents are given out where they lie, and not copied. That is why no library reads them: tar-stream keeps pieces in queues
 * of its own, and says to nobody when it is done with one.
 *
 * WAL-G writes no end blocks in some files, so a file may end behind any whole member. That one which was cut just
 * there is whole is for the compression's checksums and the manifest to say. And what has no room in a header, as the
 * number of an owner above two million, WAL-G writes into extended headers of POSIX.1-2001 (pax).
 */
import { ByteReader } from '../archive/codecs/byte-reader.ts'
import { damaged } from '../archive/damaged.ts'
import { blockBytes, inBlocks, readHeader, type Strange, type TarHeader } from '../archive/tar-header.ts'
import { type MemberPath, parseMemberPath, refused } from './member-path.ts'

export interface Member extends MemberPath {
  readonly kind: 'file' | 'folder' | 'link'
  /** Permission bits. */
  readonly mode: number
  /** Of a file. */
  readonly bytes: number
}

/** Gets a member, and reads a file's content. A piece of it is there until the next one is asked for. */
export type TakeMember = (member: Member, content: AsyncIterable<Uint8Array>) => Promise<void>

const extendedType = 'x'
const mostExtendedBytes = 1024 * 1024
const kinds: Readonly<Partial<Record<string, Member['kind']>>> = { '0': 'file', '5': 'folder', '2': 'link' }
/** For messages. */
const otherTypes: Readonly<Partial<Record<string, string>>> = {
  '1': 'link',
  '3': 'character device',
  '4': 'block device',
  '6': 'pipe',
}

/**
 * Hands every member to `take`, in order. A piece of `plain` may be overwritten when the next one is asked for. Throws
 * ARCHIVE_DAMAGED, what `plain` throws, and what `take` throws.
 */
export async function readTar(key: string, plain: AsyncIterable<Uint8Array>, take: TakeMember): Promise<void> {
  const reader = new ByteReader(plain, key)
  const strange = (what: string): Error => damaged(key, `is no whole tar file: it has ${what}`)
  try {
    while (!(await reader.atEnd())) {
      const header = await nextHeader(reader, strange)
      // One of the blocks behind the last member.
      if (header === null) continue
      const member = memberOf(key, header)
      const content = new Content(reader, member.bytes)
      await take(member, content)
      await reader.skip(content.left + inBlocks(member.bytes) - member.bytes)
    }
  } finally {
    await reader.close()
  }
}

async function nextHeader(reader: ByteReader, strange: Strange): Promise<TarHeader | null> {
  const header = readHeader(await reader.take(blockBytes), strange)
  if (header?.type !== extendedType) return header
  if (header.bytes > mostExtendedBytes) throw strange(`an extended header of ${header.bytes} bytes`)
  const extended = readExtended(await reader.take(header.bytes))
  if (extended === null) throw strange('an extended header that cannot be read')
  await reader.skip(inBlocks(header.bytes) - header.bytes)
  const own = readHeader(await reader.take(blockBytes), strange)
  if (own === null || own.type === extendedType) throw strange('an extended header of nothing')
  return { ...own, ...extended }
}

class Content implements AsyncIterable<Uint8Array> {
  readonly #reader: ByteReader
  #left: number

  constructor(reader: ByteReader, bytes: number) {
    this.#reader = reader
    this.#left = bytes
  }

  /** Bytes that nobody has asked for. */
  get left(): number {
    return this.#left
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    while (this.#left > 0) {
      const part = await this.#reader.part(this.#left)
      this.#left -= part.length
      yield part
    }
  }
}

/** What an extended header says in place of the header behind it. */
type Extended = Partial<Pick<TarHeader, 'name' | 'prefix' | 'bytes' | 'link'>>

/**
 * Reads records of the form "<length of the record> <name>=<value>\n". Those that do not matter here are passed over. Null
 * for what is none, and for what is said of a content that is not written out as it is.
 */
function readExtended(records: Buffer): Extended | null {
  const extended: { -readonly [field in keyof Extended]: Extended[field] } = {}
  for (let at = 0; at < records.length; ) {
    const length = Number(/^[1-9]\d{0,6} /.exec(records.toString('latin1', at, at + 8))?.[0])
    const record = records.subarray(at, at + length).toString('utf8')
    const [, name, value] = /^\d+ ([^=]+)=(.*)\n$/s.exec(record) ?? []
    if (!(at + length <= records.length) || name === undefined || value === undefined) return null
    if (name.startsWith('GNU.sparse.')) return null
    if (name === 'path') Object.assign(extended, { name: value, prefix: '' })
    if (name === 'linkpath') extended.link = value
    if (name === 'size') {
      if (!/^\d{1,15}$/.test(value)) return null
      extended.bytes = Number(value)
    }
    at += length
  }
  return extended
}

/** Throws ARCHIVE_DAMAGED for what no backup holds. */
function memberOf(key: string, header: TarHeader): Member {
  const { type, mode, bytes, link } = header
  const name = header.prefix === '' ? header.name : `${header.prefix}/${header.name}`
  const kind = kinds[type]
  if (kind === undefined)
    throw refused(key, name, `is a ${otherTypes[type] ?? `member of type ${JSON.stringify(type)}`}`)
  const place = parseMemberPath(key, name)
  if (kind !== 'file' && bytes !== 0) throw refused(key, name, `is a ${kind} and claims to hold ${bytes} bytes`)
  // The places of tablespaces are known from elsewhere. A server writes no other links.
  if (kind === 'link' && (place.oid === null || place.within !== '')) {
    throw refused(key, name, `is a link to ${JSON.stringify(link)}`)
  }
  if (kind === 'file' && (place.within === '' || name.endsWith('/'))) {
    throw refused(key, name, 'is a file where a folder has to be')
  }
  return { ...place, kind, mode: mode & 0o777, bytes }
}
