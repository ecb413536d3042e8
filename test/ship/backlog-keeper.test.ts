/** The note of what a receiver holds and the archive has not: when it is written, refreshed and deleted. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { type BacklogNote, findBacklog, putBacklog } from '../../src/archive/backlog.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { BacklogKeeper } from '../../src/ship/backlog-keeper.ts'
import { at, Feeder } from '../spool/feeder.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { tempFolder } from '../support/temp.ts'

const signal = new AbortController().signal

class Keeping {
  readonly clock = new FakeClock()
  readonly store = new MemoryStore()
  readonly feeder: Feeder
  readonly said: string[] = []
  readonly keeper: BacklogKeeper

  private constructor(folder: string, host: string) {
    this.feeder = new Feeder(folder)
    const say = (message: string): void => void this.said.push(message)
    this.keeper = new BacklogKeeper({
      slot: 'walferry',
      host,
      spool: this.feeder.spool,
      positions: this.feeder.positions,
      store: this.store,
      clock: this.clock,
      log: { error: say, warn: say, info: () => undefined, debug: () => undefined },
    })
  }

  /** A stream has begun, and nothing is received yet. */
  static async begin(t: TestContext, host = 'h1'): Promise<Keeping> {
    const keeping = await Keeping.empty(t, host)
    await keeping.feeder.begin()
    return keeping
  }

  /** Nothing is known yet of any WAL. */
  static async empty(t: TestContext, host = 'h1'): Promise<Keeping> {
    const keeping = new Keeping(await tempFolder(t), host)
    t.after(() => keeping.feeder.spool.close())
    return keeping
  }

  async sync(offset: number): Promise<void> {
    await this.feeder.mustFeedTo(offset)
  }

  ship(offset: number): void {
    this.feeder.positions.noteShipped(at(offset))
  }

  /** Seconds go by, with a look in each. */
  async pass(seconds: number): Promise<void> {
    for (let n = 0; n < seconds; n++) {
      this.clock.pass(1000)
      await this.keeper.look(signal)
    }
  }

  note(): Promise<BacklogNote | null> {
    return findBacklog(this.store, 'walferry', { signal })
  }

  /** A note as a crash, or another receiver of the slot, has left it. */
  leftOver(offset: number, timeline = 1): Promise<void> {
    return putBacklog(this.store, 'walferry', { timeline, lsn: at(offset), host: 'h0', time: new Date(0) }, { signal })
  }
}

test('what waits for more than ten seconds is noted, and when it is shipped, the note goes', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(1000)
  await keeping.pass(11)
  assert.equal(await keeping.note(), null)
  await keeping.pass(1)
  const time = new Date(keeping.clock.nowMs())
  assert.deepEqual(await keeping.note(), { timeline: 1, lsn: at(1000), host: 'h1', time })
  keeping.ship(1000)
  await keeping.pass(1)
  assert.equal(await keeping.note(), null)
})

test('a receiver whose store keeps up writes nothing, however much is under way', async (t) => {
  const keeping = await Keeping.begin(t)
  for (let second = 1; second <= 60; second++) {
    await keeping.sync(second * 1000)
    keeping.ship(second * 1000 - 2000)
    await keeping.pass(1)
  }
  assert.equal(keeping.store.calls.put + keeping.store.calls.deleteMany, 0)
})

test('while it stands the note is written again every ten seconds, with what is synced by then', async (t) => {
  const keeping = await Keeping.begin(t)
  for (let second = 1; second <= 62; second++) {
    await keeping.sync(second * 1000)
    await keeping.pass(1)
  }
  assert.equal(keeping.store.calls.put, 6)
  assert.equal((await keeping.note())?.lsn, at(62_000))
})

test('while old WAL is shipped and new WAL comes, the note stays until the store keeps up', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(100_000)
  await keeping.pass(30)
  for (let second = 1; second <= 30; second++) {
    await keeping.sync(100_000 + second * 1000)
    keeping.ship(second * 4000)
    await keeping.pass(1)
  }
  assert.ok((await keeping.note()) !== null)
  for (let second = 31; second <= 40; second++) {
    await keeping.sync(100_000 + second * 1000)
    keeping.ship(99_000 + second * 1000)
    await keeping.pass(1)
  }
  assert.equal(await keeping.note(), null)
})

test('what a crash has left is deleted once all that it tells of is shipped, and not before', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.leftOver(5000)
  await keeping.pass(2)
  await keeping.sync(4000)
  keeping.ship(4000)
  await keeping.pass(2)
  assert.ok((await keeping.note()) !== null)
  await keeping.sync(5000)
  await keeping.pass(2)
  assert.ok((await keeping.note()) !== null)
  keeping.ship(5000)
  await keeping.pass(1)
  assert.equal(await keeping.note(), null)
})

test('an end that comes at once deletes what a crash has left, too', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.leftOver(0)
  await keeping.keeper.leave()
  assert.equal(await keeping.note(), null)
})

test('as long as no WAL is known, a note is left alone', async (t) => {
  const keeping = await Keeping.empty(t)
  await keeping.leftOver(5000)
  await keeping.pass(100)
  await keeping.keeper.leave()
  assert.ok((await keeping.note()) !== null)
})

test('the note of another receiver of the slot, on a timeline that is not known here, is left alone', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.leftOver(0, 2)
  await keeping.sync(1000)
  keeping.ship(1000)
  await keeping.pass(100)
  assert.ok((await keeping.note()) !== null)
})

test('a note that another receiver of the slot has left meanwhile is found with the next WAL, or at the end', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(5000)
  keeping.ship(5000)
  await keeping.pass(5)
  await keeping.leftOver(5000)
  await keeping.sync(6000)
  keeping.ship(6000)
  await keeping.pass(60)
  assert.equal(await keeping.note(), null)
  await keeping.pass(61)
  await keeping.leftOver(6000)
  await keeping.pass(600)
  assert.ok((await keeping.note()) !== null)
  await keeping.keeper.leave()
  assert.equal(await keeping.note(), null)
})

test('a note that its writer writes once more is found without WAL, too', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.leftOver(5000)
  await keeping.sync(5000)
  keeping.ship(5000)
  await keeping.pass(2)
  assert.equal(await keeping.note(), null)
  await keeping.leftOver(5000)
  await keeping.pass(61)
  assert.equal(await keeping.note(), null)
})

test('while no WAL comes the store is not asked, however long that lasts', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(5000)
  await keeping.pass(1)
  keeping.ship(5000)
  // The last WAL is followed by one look for the note of another receiver, a minute after the one before.
  await keeping.pass(61)
  const asked = keeping.store.calls.get
  await keeping.pass(3600)
  assert.equal(keeping.store.calls.get, asked)
  assert.equal(keeping.store.calls.put + keeping.store.calls.deleteMany, 0)
})

test('one that cannot be read is deleted once the store keeps up', async (t) => {
  const keeping = await Keeping.begin(t)
  keeping.store.set('walferry_001/backlog/walferry.json', Buffer.from('{'))
  await keeping.sync(1000)
  keeping.ship(1000)
  await keeping.pass(1)
  assert.deepEqual(keeping.store.keys, [])
})

test('a store that fails is asked again ten seconds later, for ever', async (t) => {
  const keeping = await Keeping.begin(t)
  keeping.store.before = () => {
    throw new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
  }
  await keeping.sync(1000)
  await keeping.pass(60)
  assert.equal(keeping.store.calls.put, 5)
  keeping.store.before = () => undefined
  await keeping.pass(10)
  assert.equal((await keeping.note())?.lsn, at(1000))
})

test('a note whose answer was lost is deleted like any other', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(1000)
  keeping.store.before = async (operation) => {
    if (operation !== 'put') return
    keeping.store.before = () => undefined
    await keeping.leftOver(1000)
    throw new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
  }
  await keeping.pass(12)
  assert.ok((await keeping.note()) !== null)
  keeping.ship(1000)
  await keeping.pass(10)
  assert.equal(await keeping.note(), null)
})

test('an end with WAL that is not shipped leaves a note, however short the wait was', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(1000)
  await keeping.keeper.leave()
  assert.equal((await keeping.note())?.lsn, at(1000))
  assert.deepEqual(keeping.said, [])
})

test('an end that cannot leave its note says so', async (t) => {
  const keeping = await Keeping.begin(t)
  await keeping.sync(1000)
  keeping.store.before = () => {
    throw new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
  }
  await keeping.keeper.leave()
  assert.match(keeping.said.join('\n'), /cannot leave a note of what the archive lacks: injected/)
})

test('a name of a machine that a note cannot hold is made one that it can', async (t) => {
  for (const [host, expected] of [
    ['', 'unknown'],
    ['b\u00fcro\n1', 'b?ro?1'],
    ['x'.repeat(300), 'x'.repeat(255)],
  ] as const) {
    const keeping = await Keeping.begin(t, host)
    await keeping.sync(1000)
    await keeping.keeper.leave()
    assert.equal((await keeping.note())?.host, expected)
  }
})
