/** Where WAL is missing in the archive and the spool is past it: what is told of that, and when. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { putBacklog } from '../../src/archive/backlog.ts'
import { listGaps } from '../../src/archive/gaps.ts'
import { type GapName, gapFolder, segmentKey } from '../../src/archive/keys.ts'
import { StartingPoint } from '../../src/daemon/starting-point.ts'
import { StoreAsker } from '../../src/daemon/store-asker.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import { firstTimeline } from '../../src/wal/history.ts'
import { segmentStart } from '../../src/wal/segment.ts'
import { FaultyStore, unreachable } from '../ship/shipping.ts'
import { at, Feeder, firstSegno, nameOf, segmentBytes } from '../spool/feeder.ts'
import { deferred } from '../support/deferred.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

const host = 'b\u00fcro'
/** The segment before the spool's first. */
const lost: GapName = { timeline: 1, from: segmentStart(firstSegno - 1, segmentBytes), to: at(0) }

/** A start with a spool, beside an archive that lacks the segment before it. */
class Starting {
  readonly store = new FaultyStore()
  readonly told: GapName[] = []
  readonly said: string[] = []
  counted = 0
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    for (const n of [-2, 0]) this.store.set(segmentKey(nameOf(n), 'none'), Buffer.alloc(segmentBytes))
  }

  /** Resolves when nothing is being noted any more. */
  async start(): Promise<void> {
    const feeder = new Feeder(await tempFolder(this.#t))
    this.#t.after(() => feeder.spool.close())
    await feeder.begin()
    await feeder.mustFeedTo(1000)
    const say = (message: string): void => void this.said.push(message)
    const log = { error: say, warn: () => undefined, info: () => undefined, debug: () => undefined }
    const metrics = {
      ...noMetrics,
      add: (name: string) => {
        if (name === 'walferry_gaps_total') this.counted++
      },
    }
    const starting = new StartingPoint({
      archive: new Archive(this.store),
      spoolFolder: feeder.folder,
      slot: 'walferry',
      host,
      store: new StoreAsker(log, metrics),
      observer: {
        gaps: { noted: (gap) => void this.told.push(gap), lookSoon: () => undefined },
        restorable: { noteHole: () => undefined },
      },
      log,
      metrics,
      signal: deadline(),
    })
    const claiming = { spool: feeder.spool, claimed: Promise.resolve(), isClaimed: () => true }
    const meeting = await starting.meet(claiming, at(1000), true, deadline())
    await meeting.furthestFor(firstTimeline, deadline())
    await starting.settled()
  }
}

test('what is lost is told while the store does not take the note of it', async (t) => {
  const starting = new Starting(t)
  const tried = deferred()
  let isAway = true
  starting.store.before = (operation, key) => {
    if (operation !== 'put' || !key.startsWith(gapFolder) || !isAway) return
    tried.resolve()
    throw unreachable()
  }
  const started = starting.start()
  await tried.promise
  assert.deepEqual([starting.told, starting.counted], [[lost], 1])
  isAway = false
  await started
  assert.deepEqual(await listGaps(starting.store, { signal: deadline() }), [lost])
  assert.deepEqual([starting.told, starting.counted], [[lost], 1], 'it is one gap, however often the note is tried')
})

test('a note that cannot be written at all is an error', async (t) => {
  const starting = new Starting(t)
  starting.store.before = (operation) => {
    if (operation === 'put') throw new WalferryError('ARCHIVE_DAMAGED', 'injected')
  }
  await starting.start()
  assert.deepEqual(starting.told, [lost])
  assert.match(starting.said.at(-1) ?? '', /the gap could not be noted in the archive: injected/)
})

test('of the notes of backlogs the own one is known again, whatever the machine is called', async (t) => {
  for (const [noted, expected] of [
    ['b?ro', [lost]],
    ['elsewhere', []],
  ] as const) {
    const starting = new Starting(t)
    const note = { timeline: 1, lsn: at(0), host: noted, time: new Date(0) }
    await putBacklog(starting.store, 'walferry', note, { signal: deadline() })
    await starting.start()
    assert.deepEqual(starting.told, expected)
  }
})
