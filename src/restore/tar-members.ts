/**
 * The members of a tar file, one after the other. Only what a backup holds is let through: files, folders, and the
 * links of tablespaces; anything else is refused, and so is a file that is cut.
 *
 * WAL-G writes no end blocks in some files, so a file may end behind any whole member. That one which was cut just
 * there is whole is for the compression's checksums and the manifest to say.
 */
import { type Extract, extract, type Header } from 'tar-stream'
import { damaged } from '../archive/damaged.ts'
import { type MemberPath, parseMemberPath, refused } from './member-path.ts'

export interface Member extends MemberPath {
  readonly kind: 'file' | 'folder' | 'link'
  /** Permission bits. */
  readonly mode: number
  /** Of a file. */
  readonly bytes: number
}

/** Gets a member, and reads a file's content to its end. */
export type TakeMember = (member: Member, content: AsyncIterable<Uint8Array>) => Promise<void>

/** Hands every member to `take`, in order. Throws ARCHIVE_DAMAGED, what `plain` throws, and what `take` throws. */
export async function readTar(key: string, plain: AsyncIterable<Uint8Array>, take: TakeMember): Promise<void> {
  const tar = extract()
  const fed = feed(plain, tar)
  const members = tar[Symbol.asyncIterator]()
  // A source that fails breaks the parser off: then what it failed with counts.
  const broken = async (cause: unknown): Promise<unknown> => (await fed) ?? damaged(key, 'is no whole tar file', cause)
  try {
    for (;;) {
      const next = await members.next().catch(async (error: unknown) => Promise.reject(await broken(error)))
      if (next.done === true) break
      await take(memberOf(key, next.value.header), contentOf(next.value, broken))
      next.value.resume()
    }
  } finally {
    tar.destroy(null)
    await fed
  }
}

/** Resolves with what the source failed with, or null. */
async function feed(plain: AsyncIterable<Uint8Array>, tar: Extract): Promise<unknown> {
  try {
    for await (const piece of plain) {
      if (tar.destroyed) return null
      if (!tar.write(piece)) await drained(tar)
    }
    tar.end(null)
    return null
  } catch (error) {
    tar.destroy(error instanceof Error ? error : new Error('the source failed'))
    return error
  }
}

function drained(tar: Extract): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      tar.off('drain', done)
      tar.off('close', done)
      resolve()
    }
    tar.on('drain', done)
    tar.on('close', done)
  })
}

async function* contentOf(
  entry: AsyncIterable<unknown>,
  broken: (cause: unknown) => Promise<unknown>,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of entry) if (piece instanceof Uint8Array) yield piece
  } catch (error) {
    throw await broken(error)
  }
}

const kinds: Readonly<Partial<Record<string, Member['kind']>>> = { file: 'file', directory: 'folder', symlink: 'link' }

/** Throws ARCHIVE_DAMAGED for what no backup holds. */
export function memberOf(key: string, { name, type, size, mode, linkname }: Header): Member {
  const kind = kinds[type]
  if (kind === undefined) throw refused(key, name, `is a ${type}`)
  const place = parseMemberPath(key, name)
  if (kind !== 'file' && size !== 0) throw refused(key, name, `is a ${kind} and claims to hold ${size} bytes`)
  // The places of tablespaces are known from elsewhere. A server writes no other links.
  if (kind === 'link' && (place.oid === null || place.within !== '')) {
    throw refused(key, name, `is a link to ${JSON.stringify(linkname)}`)
  }
  if (kind === 'file' && place.within === '') throw refused(key, name, 'is a file where a folder has to be')
  return { ...place, kind, mode: mode & 0o777, bytes: size }
}
