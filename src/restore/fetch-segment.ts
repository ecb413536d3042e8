/** Brings a segment back. One that is there as one object needs no rule, and no look at anything else. */
import { rename } from 'node:fs/promises'
import { fileAt } from '../archive/bytes-at.ts'
import { type ClusterIdentity, readIdentity } from '../archive/identity.ts'
import { systemIdentifierBeside } from './beside.ts'
import { withGoodUpTo } from './good-up-to.ts'
import { refuseOtherLines } from './page-timelines.ts'
import { receiveSegment } from './receive-segment.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'
import { refuseForeign } from './whose.ts'

export async function fetchSegment(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const { archive, name, dest } = request
  for (let neededBy: string | null = null; ; ) {
    const [identity, [whole], systemIdentifier] = await Promise.all([
      readIdentity(archive.store, { signal }),
      archive.findSegment(name, { signal }),
      systemIdentifierBeside(dest),
    ])
    if (identity !== null) refuseForeign(archive, identity, systemIdentifier)
    try {
      if (whole !== undefined) return await serveWhole(request, whole.key, identity, systemIdentifier, signal)
      const { fetchTail } = await import('./fetch-tail.ts')
      const answer = await fetchTail(request, neededBy, signal)
      if (answer.answer !== 'look again') return answer
      neededBy = answer.neededBy
    } catch (error) {
      throw withGoodUpTo(error, name, identity?.segmentBytes ?? null)
    }
  }
}

async function serveWhole(
  request: FetchRequest,
  key: string,
  identity: ClusterIdentity | null,
  systemIdentifier: bigint | null,
  signal: AbortSignal,
): Promise<FetchAnswer> {
  return await withTemporary(request.dest, 'answer', async (file, path) => {
    const segment = fileAt(file, path)
    const expected = await receiveSegment(request.archive, key, segment, {
      name: request.name,
      segmentBytes: identity?.segmentBytes ?? null,
      systemIdentifier: systemIdentifier ?? (identity === null ? null : BigInt(identity.systemIdentifier)),
      signal,
    })
    await refuseOtherLines(request, segment, expected.segmentBytes, expected, signal)
    await rename(path, request.dest)
    return { answer: 'served', what: 'the segment' }
  })
}
