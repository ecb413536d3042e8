/** What came back, compared row by row with what was acknowledged. Pure. */
import type { Commit } from './demo-writer.ts'

export interface Verdict {
  readonly acknowledged: number
  /** Acknowledged commits that are there, with the right content. */
  readonly back: number
  readonly lost: number
  /** From the first lost commit's acknowledgement to the last commit's: how much writing is gone. */
  readonly lostSeconds: number
  /** Rows with wrong content, or a lost commit that is older than one that came back (one client: a hole). */
  readonly wrong: readonly string[]
}

/**
 * @param acknowledged in the order of the acknowledgements
 * @param rows id -> payload, as the recovered server has them
 */
export function judge(acknowledged: readonly Commit[], rows: ReadonlyMap<number, string>, clients: number): Verdict {
  const wrong: string[] = []
  for (const { id, payload } of acknowledged) {
    const found = rows.get(id)
    if (found !== undefined && found !== payload) wrong.push(`row ${id} came back with other content`)
  }
  const firstLost = acknowledged.findIndex((one) => !rows.has(one.id))
  const lost = acknowledged.filter((one) => !rows.has(one.id))
  // Acknowledgements of several clients can overtake each other, each by one; anything more is a hole.
  const backAfterLoss = firstLost < 0 ? 0 : acknowledged.slice(firstLost).filter((one) => rows.has(one.id)).length
  if (backAfterLoss > clients) wrong.push(`${backAfterLoss} commits came back that are newer than a lost one`)
  const [first] = lost
  const last = acknowledged.at(-1)
  return {
    acknowledged: acknowledged.length,
    back: acknowledged.length - lost.length,
    lost: lost.length,
    lostSeconds: first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1000,
    wrong,
  }
}
