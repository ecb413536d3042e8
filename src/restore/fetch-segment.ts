/** Brings a segment back. One that is there as one object needs no rule, and no look at anything else. */
import { rename } from 'node:fs/promises'
import { withGoodUpTo } from './good-up-to.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'
import { type Known, knownBefore, receiveWhole } from './whole-segment.ts'

export async function fetchSegment(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  for (let neededBy: string | null = null; ; ) {
    const known = await knownBefore(request, signal)
    try {
      if (await serveWhole(request, known, signal)) return { answer: 'served', what: 'the segment' }
      const { fetchTail } = await import('./fetch-tail.ts')
      const answer = await fetchTail(request, neededBy, signal)
      if (answer.answer !== 'look again') return answer
      neededBy = answer.neededBy
    } catch (error) {
      throw withGoodUpTo(error, request.name, known.segmentBytes)
    }
  }
}

/** False if it is not there as one object. */
async function serveWhole(request: FetchRequest, known: Known, signal: AbortSignal): Promise<boolean> {
  return await withTemporary(request.dest, 'answer', async (file, path) => {
    if (!(await receiveWhole(request, known, { file, path }, signal))) return false
    await rename(path, request.dest)
    return true
  })
}
