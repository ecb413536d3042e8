/** Keeps a base backup for good, or no longer. */
import { readBackup } from '../archive/backups.ts'
import { setPermanent } from '../archive/permanence.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'

/** Rejects BACKUP_MISSING. Resolves once it is durable. */
export async function markBackup(
  store: ObjectStore,
  name: string,
  permanent: boolean,
  options: CallOptions,
): Promise<void> {
  const backup = await readBackup(store, name, options)
  if (backup === null) throw noBackup(store, name)
  await setPermanent(store, backup, permanent, options)
}

export function noBackup(store: ObjectStore, name: string): WalferryError {
  return new WalferryError('BACKUP_MISSING', `there is no backup ${name} in ${store.url}`, {
    fields: { backup: name },
    hint: 'walferry list shows the names of all.',
  })
}
