/** Whose archive it is, also where WAL-G began it and there is no identity object: then its first segment says so. */
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import { longHeaderBytes, pageFault, readPageHeader } from '../wal/page.ts'
import { isSegmentSize, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import type { Archive } from './archive.ts'
import { assertSameCluster, assertSameKey, type ClusterIdentity, claimIdentity, readIdentity } from './identity.ts'
import { damaged } from './damaged.ts'
import { parseWalKey, walFolder } from './keys.ts'

const largestSegmentBytes = 1024 * 1024 * 1024

/**
 * null: nothing is there that could say so. Throws ENCRYPTION_KEY if the archive's key is not the one that we have,
 * ARCHIVE_DAMAGED if what should say so cannot be read.
 */
export async function findOwner(archive: Archive, options: CallOptions): Promise<ClusterIdentity | null> {
  const known = await readIdentity(archive.store, options)
  if (known !== null) assertSameKey(archive, known)
  return known ?? (await ownerOfFirstSegment(archive, options))
}

/** The same; throws ARCHIVE_FOREIGN where nothing says whose the archive is: then it is none. */
export async function mustHaveOwner(archive: Archive, options: CallOptions): Promise<ClusterIdentity> {
  const owner = await findOwner(archive, options)
  if (owner !== null) return owner
  throw new WalferryError('ARCHIVE_FOREIGN', `${archive.store.url} is no archive: it has no identity and no WAL`, {
    hint: 'Compare --store with that of walferry receive.',
  })
}

/**
 * Makes the archive ours if it is nobody's; it may also be one that WAL-G began for us. Throws ARCHIVE_FOREIGN if it is
 * another cluster's, ENCRYPTION_KEY if its key is not the one that we have.
 */
export async function claimArchive(
  archive: Archive,
  mine: ClusterIdentity,
  options: CallOptions & { readonly now: Date },
): Promise<void> {
  const { store } = archive
  const known = await readIdentity(store, options)
  const owner = known ?? (await ownerOfFirstSegment(archive, options))
  if (owner !== null) assertSameCluster(store, owner, mine)
  if (known === null) await claimIdentity(archive, mine, options)
  else assertSameKey(archive, known)
}

/**
 * Asks anew whether this is the archive that was claimed. False if its identity is gone: a disk that is not mounted any more
 * leaves an empty folder in its place, and what is put there is not in the archive. Throws ARCHIVE_FOREIGN if it is another
 * cluster's.
 */
export async function isStillOurs(archive: Archive, mine: ClusterIdentity, options: CallOptions): Promise<boolean> {
  const found = await readIdentity(archive.store, options)
  if (found !== null) assertSameCluster(archive.store, found, mine)
  return found !== null
}

async function ownerOfFirstSegment(archive: Archive, options: CallOptions): Promise<ClusterIdentity | null> {
  for await (const { key } of archive.store.list({ prefix: walFolder, signal: options.signal })) {
    const object = parseWalKey(key)
    if (object?.kind !== 'segment') continue
    const owner = ownerOf(object.segment, await beginningOf(archive, key, options))
    // Nobody's archive it is not: without compression, what is encrypted looks like this.
    if (owner === null) throw damaged(key, noSegment(archive))
    return owner
  }
  return null
}

/** Null if this is not how the segment of that name begins: noise has the right magic once in 256 times. */
function ownerOf(name: string, beginning: Uint8Array): ClusterIdentity | null {
  const header = readPageHeader(beginning, 0)
  if (!header?.long || !isSegmentSize(header.long.segmentBytes)) return null
  const { systemIdentifier, segmentBytes } = header.long
  const segment = { timeline: Number.parseInt(name.slice(0, 8), 16), segno: segnoOf(header.address, segmentBytes) }
  const expected = { timeline: segment.timeline, address: segmentStart(segment.segno, segmentBytes), segmentBytes }
  if (segmentName(segment, segmentBytes) !== name || pageFault(header, expected) !== null) return null
  return { systemIdentifier: String(systemIdentifier), segmentBytes }
}

/** At least the header of its first page, if there is so much. */
async function beginningOf(archive: Archive, key: string, options: CallOptions): Promise<Buffer> {
  let read = Buffer.alloc(0)
  for await (const piece of await archive.readObject(key, { atMost: largestSegmentBytes }, options)) {
    read = Buffer.concat([read, piece])
    if (read.length >= longHeaderBytes) break
  }
  return read
}

function noSegment({ keyFingerprint }: Archive): string {
  const what = 'does not begin as a segment does: it is damaged'
  return keyFingerprint === null ? `${what}, or encrypted, and no key was given` : what
}
