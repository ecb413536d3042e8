/**
 * Whose archive it is, and with which key it is encrypted: `walferry_001/identity.json`, written once, at the first use.
 *
 *     {"systemIdentifier":"7574638451905423678","segmentBytes":16777216,"firstUse":"2026-11-21T01:38:00.000Z",
 *      "keyFingerprint":"0f3c5d1e7a9b2c44"}
 *
 * The system identifier is a string of digits: it is above 2^53, where JSON numbers of JavaScript are not exact. Without a
 * fingerprint nothing is encrypted. An archive has one key, or none, for all its life: so a receiver that starts with another
 * one is told at once, and not by the recovery that cannot read what it has shipped. Other fields are allowed, and ignored.
 */
import * as v from 'valibot'
import { isError, WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { isSegmentSize } from '../wal/segment.ts'
import type { Archive } from './archive.ts'
import { damaged } from './damaged.ts'
import { identityKey } from './keys.ts'

/** A cluster, as far as WAL tells: `systemIdentifier` is what IDENTIFY_SYSTEM says, decimal digits. */
export interface ClusterIdentity {
  readonly systemIdentifier: string
  readonly segmentBytes: number
}

export interface Identity extends ClusterIdentity {
  readonly firstUse: Date
  /** Null: nothing is encrypted. */
  readonly keyFingerprint: string | null
}

const maxIdentityBytes = 64 * 1024

const identitySchema = v.object({
  systemIdentifier: v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/)),
  segmentBytes: v.pipe(v.number(), v.check(isSegmentSize)),
  firstUse: v.pipe(v.string(), v.isoTimestamp()),
  keyFingerprint: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/))),
})

/** Reads the identity's bytes. Throws ARCHIVE_DAMAGED. */
export function parseIdentity(bytes: Uint8Array): Identity {
  const read = v.safeParse(identitySchema, parseJson(bytes))
  if (!read.success) throw damaged(identityKey, `cannot be read: ${v.summarize(read.issues).replaceAll('\n', ' ')}`)
  const { firstUse, keyFingerprint = null } = read.output
  return { ...read.output, firstUse: new Date(firstUse), keyFingerprint }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw damaged(identityKey, 'cannot be read', error)
  }
}

export function formatIdentity(identity: Identity): string {
  const { systemIdentifier, segmentBytes, firstUse, keyFingerprint } = identity
  const encryption = keyFingerprint === null ? {} : { keyFingerprint }
  return JSON.stringify({ systemIdentifier, segmentBytes, firstUse: firstUse.toISOString(), ...encryption })
}

/** What the archive says, or null where it says nothing. */
export async function readIdentity(store: ObjectStore, { signal }: CallOptions): Promise<Identity | null> {
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of await store.get(identityKey, { signal })) {
      bytes += part.length
      if (bytes > maxIdentityBytes) throw damaged(identityKey, `holds more than ${maxIdentityBytes} bytes`)
      parts.push(part)
    }
  } catch (error) {
    if (isError(error, 'KEY_MISSING')) return null
    throw error
  }
  return parseIdentity(Buffer.concat(parts))
}

/**
 * Makes the archive ours if it is nobody's, and returns what it says from then on. Throws ARCHIVE_FOREIGN if it is
 * another cluster's, ENCRYPTION_KEY if its key is another one. Of two that claim it at once, one wins and the other one is
 * compared with it.
 */
export async function claimIdentity(
  archive: Archive,
  mine: ClusterIdentity,
  options: CallOptions & { readonly now: Date },
): Promise<Identity> {
  const { store, keyFingerprint } = archive
  const found = await readIdentity(store, options)
  const identity = found ?? (await putIdentity(store, { ...mine, firstUse: options.now, keyFingerprint }, options))
  assertSameCluster(store, identity, mine)
  assertSameKey(archive, identity)
  return identity
}

async function putIdentity(store: ObjectStore, mine: Identity, options: CallOptions): Promise<Identity> {
  try {
    await store.put(identityKey, Buffer.from(formatIdentity(mine)), { signal: options.signal, ifAbsent: true })
    return mine
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
  }
  const others = await readIdentity(store, options)
  if (others === null) throw damaged(identityKey, 'exists and cannot be found')
  return others
}

/** Throws ARCHIVE_FOREIGN unless both are the same cluster with the same segment size. */
export function assertSameCluster(store: ObjectStore, archive: ClusterIdentity, mine: ClusterIdentity): void {
  if (archive.systemIdentifier !== mine.systemIdentifier) {
    throw new WalferryError(
      'ARCHIVE_FOREIGN',
      `the archive at ${store.url} belongs to the cluster with system identifier ${archive.systemIdentifier}, ` +
        `not to ${mine.systemIdentifier}`,
      {
        hint: 'Give each cluster an archive of its own: another bucket, prefix or directory. A new initdb makes a new cluster.',
        fields: { archive: archive.systemIdentifier, cluster: mine.systemIdentifier },
      },
    )
  }
  if (archive.segmentBytes !== mine.segmentBytes) {
    throw new WalferryError(
      'ARCHIVE_FOREIGN',
      `the archive at ${store.url} holds segments of ${archive.segmentBytes} bytes, ` +
        `and the cluster's wal_segment_size is ${mine.segmentBytes}`,
      {
        hint: 'After pg_resetwal --wal-segsize the WAL begins anew: give it a new archive and take a new base backup.',
        fields: { archive: archive.segmentBytes, cluster: mine.segmentBytes },
      },
    )
  }
}

/** Throws ENCRYPTION_KEY if the archive says that it was begun with another key. */
export async function refuseOtherKey(archive: Archive, options: CallOptions): Promise<void> {
  const identity = await readIdentity(archive.store, options)
  if (identity !== null) assertSameKey(archive, identity)
}

/** Throws ENCRYPTION_KEY unless the archive was begun with the key that it is opened with, or both have none. */
export function assertSameKey({ store, keyFingerprint: given }: Archive, { keyFingerprint: begun }: Identity): void {
  if (given === begun) return
  const fields = { archive: begun, given }
  if (begun === null) {
    throw new WalferryError('ENCRYPTION_KEY', `the archive at ${store.url} is not encrypted, and a key was given`, {
      hint: 'Leave the key out. To encrypt from now on, begin a new archive: another prefix, and a new base backup.',
      fields,
    })
  }
  const what = given === null ? 'no key was given' : 'another key was given'
  throw new WalferryError('ENCRYPTION_KEY', `the archive at ${store.url} is encrypted, and ${what}`, {
    hint:
      'Give the key that it was begun with: --encryption-key-file, read as --encryption-key-transform says. For a new key begin a ' +
      'new archive: another prefix, and a new base backup.',
    fields,
  })
}
