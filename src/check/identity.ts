/** Whether server, spool and archive are of one cluster. */
import type { Archive } from '../archive/archive.ts'
import { findOwner } from '../archive/owner.ts'
import { assertSameCluster, type ClusterIdentity } from '../archive/identity.ts'
import { type WalferryError, isError } from '../kit/errors.ts'
import type { ServerIdentity } from '../pg/replication-client.ts'
import { checkIdentity as assertSameServer } from '../receive/start.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type Finding, failedWith, ok, skipped } from './finding.ts'
import type { SpoolFacts } from './spool.ts'

/** Whose archive it is; null: nobody's yet. */
export type ArchiveOwner = { readonly owner: ClusterIdentity | null } | { readonly error: WalferryError }

/** Rejects only with the signal's reason. */
export async function askArchive(archive: Archive, signal: AbortSignal): Promise<ArchiveOwner> {
  try {
    return { owner: await findOwner(archive, { signal }) }
  } catch (error) {
    signal.throwIfAborted()
    if (isError(error)) return { error }
    throw error
  }
}

export function checkIdentity(
  server: ServerIdentity | null,
  { folder, owner: spoolOwner }: SpoolFacts,
  archive: ArchiveOwner,
  store: { readonly store: ObjectStore; readonly hasFailed: boolean },
): Finding {
  const name = 'identity'
  if (server === null) return skipped(name, 'there is no replication connection to ask for it')
  const { systemIdentifier, segmentBytes } = server
  try {
    if (spoolOwner !== null) assertSameServer(server, { ...spoolOwner, from: `the spool ${folder}` })
    if ('error' in archive) {
      if (isError(archive.error, 'ENCRYPTION_KEY')) return skipped(name, '"encryption" failed')
      if (store.hasFailed) return skipped(name, 'the store failed, so nobody can tell whose archive it is')
      return failedWith(name, archive.error)
    }
    const mine = { systemIdentifier: String(systemIdentifier), segmentBytes }
    if (archive.owner !== null) assertSameCluster(store.store, archive.owner, mine)
  } catch (error) {
    return failedWith(name, error)
  }
  const whose = archive.owner === null ? "nobody's yet: receive makes it this cluster's" : "this cluster's"
  return ok(
    name,
    `system identifier ${systemIdentifier}, segments of ${segmentBytes / 1024 ** 2} MB; the archive is ${whose}`,
  )
}
