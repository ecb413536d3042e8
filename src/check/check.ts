/**
 * All checks of a set-up, in the order in which they are told. Facts are gathered first, from server, spool and store at
 * once; then each check decides over them. Nothing is created: no slot, no identity, no folder.
 */
import type { Archive } from '../archive/archive.ts'
import type { Target } from '../pg/target.ts'
import { checkClock } from './clock.ts'
import { askEncryption, checkEncryption } from './encryption.ts'
import { checkConnection, checkPrivileges, checkVersion } from './connection.ts'
import type { Finding } from './finding.ts'
import { askArchive, checkIdentity } from './identity.ts'
import { askServer } from './server-facts.ts'
import { checkSettings } from './settings.ts'
import { checkOtherHosts, checkSlot } from './slot.ts'
import { checkSpace, checkSpool, lookAtSpool } from './spool.ts'
import { checkStore } from './store.ts'
import { checkSynchronous } from './synchronous.ts'
import { isPassed } from './tell.ts'

export interface CheckConfig {
  readonly target: Target
  readonly slot: string
  readonly requireSlot: boolean
  readonly spoolFolder: string
}

/** Rejects only with the signal's reason, once everything is tidied up. */
export async function checkAll(config: CheckConfig, archive: Archive, signal: AbortSignal): Promise<Finding[]> {
  const { target } = config
  const { store } = archive
  const [server, spool, stored, owner, encryption] = await allDone([
    askServer(target, config.slot, signal),
    lookAtSpool(config.spoolFolder),
    checkStore(store, signal),
    askArchive(archive, signal),
    askEncryption(archive, signal),
  ])
  return [
    checkConnection(server),
    checkVersion(server),
    checkPrivileges(server, target),
    ...checkSettings(server, config.slot),
    checkSynchronous(server, target.applicationName),
    checkSlot(server, { name: config.slot, required: config.requireSlot, isReceiving: spool.isLocked }),
    ...checkOtherHosts(server, config.slot),
    checkSpool(spool),
    checkSpace(spool, server.identity?.segmentBytes ?? null),
    ...stored,
    checkEncryption(archive.keyFingerprint, encryption, owner, !isPassed(stored)),
    checkIdentity(server.identity, spool, owner, { store, hasFailed: !isPassed(stored) }),
    checkClock(server.sql?.clock ?? null),
  ]
}

/** Waits for all of them, also where one rejects: each has something to tidy up. */
async function allDone<T extends readonly Promise<unknown>[]>(
  work: readonly [...T],
): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work)
  return await Promise.all(work)
}
