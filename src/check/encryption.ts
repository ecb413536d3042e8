/** Whether objects are encrypted, whether that works, and whether the archive has the same key. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { Archive } from '../archive/archive.ts'
import { memoryAt, piecesOf } from '../archive/bytes-at.ts'
import { probeKey } from '../archive/keys.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import { type Finding, failedWith, ok, skipped } from './finding.ts'
import type { ArchiveOwner } from './identity.ts'

const probeBytes = 20_000 // several chunks
/** For what has to be deleted, also after an abort. */
const tidyMs = 5000

/** What came of an object that was encrypted, stored, read and decrypted. Null: there is no key. */
export type EncryptionTrial = { readonly error: unknown } | null

/** Nothing stays, unless the store does not let us delete. Rejects only with the signal's reason. */
export async function askEncryption(archive: Archive, signal: AbortSignal): Promise<EncryptionTrial> {
  if (archive.keyFingerprint === null) return null
  const key = probeKey(randomUUID())
  try {
    const body = randomBytes(probeBytes)
    const pieces = piecesOf(memoryAt(body), 0, body.length)
    await archive.store.put(key, archive.encode('none', pieces), { ifAbsent: false, signal })
    if ((await archive.readSmall(key, body.length, { signal })).equals(body)) return { error: null }
    throw new WalferryError('STORE_FAILED', 'what was encrypted came back as other bytes', {
      hint: 'This is a fault of walferry: please report it.',
    })
  } catch (error) {
    signal.throwIfAborted()
    return { error }
  } finally {
    // Where this fails, too, "store delete" says so.
    await archive.store.deleteMany([key], { signal: AbortSignal.timeout(tidyMs) }).catch(() => undefined)
  }
}

/** @param fingerprint of the key; null: there is none. */
export function checkEncryption(
  fingerprint: string | null,
  trial: EncryptionTrial,
  archive: ArchiveOwner,
  hasStoreFailed: boolean,
): Finding {
  const name = 'encryption'
  if ('error' in archive && isError(archive.error, 'ENCRYPTION_KEY')) return failedWith(name, archive.error)
  if (trial === null || fingerprint === null) return ok(name, 'off: no key was given')
  if (trial.error === null) return ok(name, `on: the key works, and has the fingerprint ${fingerprint}`)
  return hasStoreFailed ? skipped(name, 'the store failed') : failedWith(name, trial.error)
}
