/** Is it an archive at all, and that of the server which asks? Before this is clear, nothing is "absent". */
import type { Archive } from '../archive/archive.ts'
import { hasWalFolder } from '../archive/catalogue.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { findOwner } from '../archive/owner.ts'
import { WalferryError } from '../kit/errors.ts'
import { systemIdentifierBeside } from './beside.ts'
import type { FetchRequest } from './request.ts'

/** Whose archive it is; null where nothing in it says so. Throws ARCHIVE_FOREIGN and ENCRYPTION_KEY. */
export async function ownerFor({ archive, dest }: FetchRequest, signal: AbortSignal): Promise<ClusterIdentity | null> {
  const { store } = archive
  const owner = await findOwner(archive, { signal })
  if (owner !== null) {
    refuseForeign(archive, owner, await systemIdentifierBeside(dest))
  } else if (!(await hasWalFolder(store, { signal }))) {
    throw new WalferryError('ARCHIVE_FOREIGN', `${store.url} is no archive: it has neither an identity nor WAL`, {
      hint: 'Check --store, the prefix above all. "Not there" would end the recovery here, without the WAL.',
    })
  }
  return owner
}

/** Throws ARCHIVE_FOREIGN. `systemIdentifier` is the server's; null: it has none yet. */
export function refuseForeign(archive: Archive, owner: ClusterIdentity, systemIdentifier: bigint | null): void {
  if (systemIdentifier === null || owner.systemIdentifier === String(systemIdentifier)) return
  throw new WalferryError(
    'ARCHIVE_FOREIGN',
    `${archive.store.url} belongs to system identifier ${owner.systemIdentifier}, and the server that asks is ${systemIdentifier}`,
    { hint: 'Check --store: it is the archive of another cluster.' },
  )
}
