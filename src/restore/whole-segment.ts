/** A segment that is in the archive as one object: what is known of it before it is read, and the checks that it has to pass. */
import type { FileHandle } from 'node:fs/promises'
import { fileAt } from '../archive/bytes-at.ts'
import { assertSameKey, readIdentity } from '../archive/identity.ts'
import { segmentKey } from '../archive/keys.ts'
import { isError } from '../kit/errors.ts'
import { systemIdentifierBeside } from './beside.ts'
import { refuseOtherLines } from './page-timelines.ts'
import { receiveSegment, type SegmentWanted } from './receive-segment.ts'
import type { FileAsked } from './request.ts'
import { refuseForeign } from './whose.ts'

/** What is known before a segment is read; the rest it says itself. */
export type Known = Pick<SegmentWanted, 'segmentBytes' | 'systemIdentifier'>

/**
 * Throws ARCHIVE_FOREIGN if the archive says that it is not that of the server which asks, ENCRYPTION_KEY if it says that
 * its key is not the one that we have.
 */
export async function knownBefore({ archive, dest }: FileAsked, signal: AbortSignal): Promise<Known> {
  const [identity, systemIdentifier] = await Promise.all([
    readIdentity(archive.store, { signal }),
    systemIdentifierBeside(dest),
  ])
  if (identity === null) return { segmentBytes: null, systemIdentifier }
  refuseForeign(archive, identity, systemIdentifier)
  assertSameKey(archive, identity)
  return {
    segmentBytes: identity.segmentBytes,
    systemIdentifier: systemIdentifier ?? BigInt(identity.systemIdentifier),
  }
}

/**
 * Writes the segment into a new file, and checks it. False, with nothing written, if it is not there as one object. Throws
 * ARCHIVE_DAMAGED. The likeliest key is read without a look for it: one request instead of eight.
 */
export async function receiveWhole(
  asked: FileAsked,
  known: Known,
  into: { readonly file: FileHandle; readonly path: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { archive, name } = asked
  const segment = fileAt(into.file, into.path)
  const receive = async (key: string): Promise<void> => {
    const expected = await receiveSegment(archive, key, segment, { ...known, name, signal })
    await refuseOtherLines(asked, segment, expected.segmentBytes, expected, signal)
  }
  try {
    await receive(segmentKey(name, 'lz4'))
    return true
  } catch (error) {
    if (!isError(error, 'KEY_MISSING')) throw error
  }
  const [found] = await archive.findSegment(name, { signal })
  if (found === undefined) return false
  await receive(found.key)
  return true
}
