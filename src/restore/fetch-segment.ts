/** Brings a segment back. One that is there as one object needs no rule, and no look at anything else. */
import { rename } from 'node:fs/promises'
import { fileAt } from '../archive/bytes-at.ts'
import { type ClusterIdentity, readIdentity } from '../archive/identity.ts'
import { segmentKey } from '../archive/keys.ts'
import { isError } from '../kit/errors.ts'
import { systemIdentifierBeside } from './beside.ts'
import { withGoodUpTo } from './good-up-to.ts'
import { refuseOtherLines } from './page-timelines.ts'
import { receiveSegment, type SegmentWanted } from './receive-segment.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'
import { refuseForeign } from './whose.ts'

export async function fetchSegment(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const { archive, name, dest } = request
  for (let neededBy: string | null = null; ; ) {
    const [identity, systemIdentifier] = await Promise.all([
      readIdentity(archive.store, { signal }),
      systemIdentifierBeside(dest),
    ])
    if (identity !== null) refuseForeign(archive, identity, systemIdentifier)
    const known = {
      segmentBytes: identity?.segmentBytes ?? null,
      systemIdentifier: systemIdentifier ?? systemOf(identity),
    }
    try {
      const whole = await serveWhole(request, known, signal)
      if (whole !== null) return whole
      const { fetchTail } = await import('./fetch-tail.ts')
      const answer = await fetchTail(request, neededBy, signal)
      if (answer.answer !== 'look again') return answer
      neededBy = answer.neededBy
    } catch (error) {
      throw withGoodUpTo(error, name, known.segmentBytes)
    }
  }
}

/** What is known before a segment is read; the rest it says itself. */
type Known = Pick<SegmentWanted, 'segmentBytes' | 'systemIdentifier'>

function systemOf(identity: ClusterIdentity | null): bigint | null {
  return identity === null ? null : BigInt(identity.systemIdentifier)
}

/** Null if it is not there as one object. The likeliest key is read without a look for it: one request instead of eight. */
async function serveWhole(request: FetchRequest, known: Known, signal: AbortSignal): Promise<FetchAnswer | null> {
  try {
    return await serveObject(request, segmentKey(request.name, 'lz4'), known, signal)
  } catch (error) {
    if (!isError(error, 'KEY_MISSING')) throw error
  }
  const [found] = await request.archive.findSegment(request.name, { signal })
  return found === undefined ? null : await serveObject(request, found.key, known, signal)
}

async function serveObject(
  request: FetchRequest,
  key: string,
  known: Known,
  signal: AbortSignal,
): Promise<FetchAnswer> {
  return await withTemporary(request.dest, 'answer', async (file, path) => {
    const segment = fileAt(file, path)
    const expected = await receiveSegment(request.archive, key, segment, { ...known, name: request.name, signal })
    await refuseOtherLines(request, segment, expected.segmentBytes, expected, signal)
    await rename(path, request.dest)
    return { answer: 'served', what: 'the segment' }
  })
}
