/** In which order a timeline comes into an archive: a reader that came between must find nothing that misleads it. */
import assert from 'node:assert/strict'
import { Archive } from '../../src/archive/archive.ts'
import { parseChunkKey, parseWalKey } from '../../src/archive/keys.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import type { ObjectStore, PutOptions } from '../../src/store/object-store.ts'
import { forkOf, parseHistory } from '../../src/wal/history.ts'
import type { Lsn } from '../../src/wal/lsn.ts'
import { historyName, offsetIn, segnoOf } from '../../src/wal/segment.ts'
import { unreachable } from '../ship/shipping.ts'
import { deadline } from '../support/postgres.ts'
import { segmentBytes } from './server.ts'

/** Remembers the order in which objects became durable, and can go away. */
export class OrderedStore extends DirectoryStore {
  readonly order: string[] = []
  isAway = false

  override async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    if (this.isAway) throw unreachable()
    await super.put(key, body, options)
    this.order.push(key)
  }
}

/** Where timeline `n` begins, by the archive's own history file. */
export async function forkOfArchived(store: ObjectStore, timeline: number): Promise<Lsn> {
  const archive = new Archive(store)
  const [object] = await archive.findHistory(timeline, { signal: deadline() })
  assert.ok(object !== undefined, `${historyName(timeline)} is not in the archive`)
  const content = await archive.readSmall(object.key, 10_000, { signal: deadline() })
  const fork = forkOf(parseHistory(timeline, content))
  assert.ok(fork !== null)
  return fork.switchPoint
}

/** The history was put after the bytes of the first segment up to the fork, and before all other WAL of its timeline. */
export async function assertBornInOrder(store: OrderedStore, timeline: number): Promise<void> {
  const fork = await forkOfArchived(store, timeline)
  const history = store.order.findIndex((key) => {
    const object = parseWalKey(key)
    return object?.kind === 'history' && object.timeline === timeline
  })
  const reaches = (key: string): { segno: number; end: number } | null => {
    const wal = parseWalKey(key)
    const chunk = parseChunkKey(key)
    const name = wal?.kind === 'segment' ? wal.segment : chunk?.segment
    if (name === undefined || Number.parseInt(name.slice(0, 8), 16) !== timeline) return null
    const segno = Number.parseInt(name.slice(8, 16), 16) * 4096 + Number.parseInt(name.slice(16), 16)
    return { segno, end: chunk?.end ?? segmentBytes }
  }
  const first = segnoOf(fork, segmentBytes)
  const before = store.order
    .slice(0, history)
    .map(reaches)
    .filter((one) => one !== null)
  assert.ok(before.some((one) => one.segno === first && one.end >= offsetIn(fork, segmentBytes)))
  assert.deepEqual(
    before.filter((one) => one.segno !== first),
    [],
  )
}
