/** Whose archive it is, also where WAL-G began it and there is no identity object: then its first segment says so. */
import type { CallOptions } from '../store/object-store.ts'
import { longHeaderBytes, mayBeWal, readPageHeader } from '../wal/page.ts'
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

async function ownerOfFirstSegment(archive: Archive, options: CallOptions): Promise<ClusterIdentity | null> {
  for await (const { key } of archive.store.list({ prefix: walFolder, signal: options.signal })) {
    if (parseWalKey(key)?.kind !== 'segment') continue
    const header = readPageHeader(await beginningOf(archive, key, options), 0)
    // Nobody's archive it is not: without compression, what is encrypted looks like this.
    if (!header?.long || !mayBeWal(header)) throw damaged(key, noSegment(archive))
    return { systemIdentifier: String(header.long.systemIdentifier), segmentBytes: header.long.segmentBytes }
  }
  return null
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
