/** Whose archive it is, also where WAL-G began it and there is no identity object: then its first segment says so. */
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { readPageHeader } from '../wal/page.ts'
import { Archive } from './archive.ts'
import { assertSameCluster, type ClusterIdentity, claimIdentity, readIdentity } from './identity.ts'
import { parseWalKey, walFolder } from './keys.ts'

const largestSegmentBytes = 1024 * 1024 * 1024

/** null: nothing is there that could say so. */
export async function findOwner(store: ObjectStore, options: CallOptions): Promise<ClusterIdentity | null> {
  return (await readIdentity(store, options)) ?? (await ownerOfFirstSegment(store, options))
}

/**
 * Makes the archive ours if it is nobody's; it may also be one that WAL-G began for us. Throws ARCHIVE_FOREIGN if it is
 * another cluster's.
 */
export async function claimArchive(
  store: ObjectStore,
  mine: ClusterIdentity,
  options: CallOptions & { readonly now: Date },
): Promise<void> {
  const known = await readIdentity(store, options)
  const owner = known ?? (await ownerOfFirstSegment(store, options))
  if (owner !== null) assertSameCluster(store, owner, mine)
  if (known === null) await claimIdentity(store, mine, options)
}

async function ownerOfFirstSegment(store: ObjectStore, options: CallOptions): Promise<ClusterIdentity | null> {
  for await (const { key } of store.list({ prefix: walFolder, signal: options.signal })) {
    if (parseWalKey(key)?.kind !== 'segment') continue
    for await (const piece of await new Archive(store).readObject(key, { atMost: largestSegmentBytes }, options)) {
      const long = readPageHeader(piece, 0)?.long
      if (!long) return null
      return { systemIdentifier: String(long.systemIdentifier), segmentBytes: long.segmentBytes }
    }
  }
  return null
}
