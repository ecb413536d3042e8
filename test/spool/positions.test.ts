import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Positions, type Stage, stages } from '../../src/spool/positions.ts'
import { asLsn, type Lsn, lsnZero } from '../../src/wal/lsn.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRandom } from '../support/random.ts'

const megabyte = 1024 * 1024
const hourMs = 3_600_000

/** A receiver's life in short: a server whose clock is wrong, and everything that it sends. */
class Life {
  readonly clock = new FakeClock()
  readonly positions = new Positions(this.clock)
  /** The server's clock is half an hour ahead of ours: lags must not notice. */
  aheadMs = hourMs / 2

  get serverMs(): number {
    return this.clock.nowMs() + this.aheadMs
  }

  /** A stream begins at `begin`, and up to `at` is here already. */
  start(at: number, begin = at): this {
    this.positions.startAt(asLsn(at), asLsn(begin))
    return this
  }

  /** An XLogData message with the bytes up to `upTo` arrives; the server has `flush` by now. */
  send(upTo: number, flush = upTo): this {
    this.positions.noteServer(asLsn(flush), this.serverMs)
    this.positions.noteSent(this.positions.received, this.serverMs)
    this.positions.noteReceived(asLsn(upTo))
    return this
  }

  keepalive(position: number): this {
    this.positions.noteServer(asLsn(position), this.serverMs)
    return this
  }

  sync(upTo: number): this {
    this.positions.noteWritten(asLsn(upTo))
    this.positions.noteSynced(asLsn(upTo))
    return this
  }

  ship(upTo: number): this {
    this.positions.noteShipped(asLsn(upTo))
    return this
  }

  pass(ms: number): this {
    this.clock.pass(ms)
    return this
  }

  lag(stage: Stage): readonly [bytes: number, seconds: number] {
    const { bytes, seconds } = this.positions.lag(stage)
    return [bytes, seconds]
  }

  /** The server is another one from now on, whose clock is `ms` ahead of the old one's. */
  failOver(ms: number): this {
    this.aheadMs += ms
    return this
  }

  /** How old the oldest byte is that is not in the store. */
  unshippedAgeMs(): number | null {
    return this.positions.unshippedAgeMs()
  }

  /** How long ago, by the server's clock, the store could have brought back. */
  restorableAgeMs(): number | null {
    const restorable = this.positions.restorableTimeMs()
    return restorable === null ? null : this.serverMs - restorable
  }
}

test('before anything is known there is no lag, and no restorable time', () => {
  const life = new Life()
  for (const stage of stages) assert.deepEqual(life.lag(stage), [0, 0])
  assert.equal(life.positions.restorableTimeMs(), null)
})

test('a start sets all positions to what is here, and shipped to where the stream begins', () => {
  const { positions } = new Life().start(1500, 1000)
  assert.deepEqual(
    [positions.server, positions.received, positions.written, positions.synced],
    [1500n, 1500n, 1500n, 1500n],
  )
  assert.equal(positions.shipped, 1000n)
})

test('a second start moves nothing back', () => {
  const life = new Life().start(1000).send(5000).sync(4000).ship(3000).start(2000, 1000)
  const { server, received, written, synced, shipped } = life.positions
  assert.deepEqual([server, received, written, synced, shipped], [5000n, 5000n, 4000n, 4000n, 3000n])
})

test('each stage lags by its bytes, and by the age of its oldest byte', () => {
  const life = new Life().start(1000)
  life.send(2000).pass(1000).send(3000).pass(1000).send(4000, 9000).pass(500)
  assert.deepEqual(life.lag('sync'), [3000, 2.5])
  assert.deepEqual(life.lag('receive'), [5000, 0.5])
  assert.deepEqual(life.lag('ship'), [0, 0])
  life.sync(2000)
  assert.deepEqual(life.lag('sync'), [2000, 1.5])
  assert.deepEqual(life.lag('ship'), [1000, 2.5])
  life.sync(4000).ship(3500)
  assert.deepEqual(life.lag('sync'), [0, 0])
  assert.deepEqual(life.lag('ship'), [500, 0.5])
  life.ship(4000)
  assert.deepEqual(life.lag('ship'), [0, 0])
})

test('lags grow while nothing happens, by our own clock, whatever the clocks on the wall say', () => {
  const life = new Life().start(1000).send(2000).sync(2000).pass(60_000)
  life.clock.set(life.clock.nowMs() + 24 * hourMs)
  assert.deepEqual(life.lag('ship'), [1000, 60])
})

test("a lag is never negative, also where the server's clock went back", () => {
  const life = new Life().start(1000).send(2000)
  life.positions.noteServer(asLsn(2000), life.serverMs - hourMs)
  assert.deepEqual(life.lag('sync'), [1000, 0])
})

test('while it is connected and nothing waits, all that the server had said is restorable', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(10_000).keepalive(2000)
  assert.equal(life.restorableAgeMs(), 0)
  life.pass(7000)
  assert.equal(life.restorableAgeMs(), 7000)
})

test('while something waits, it is when the server had no more than what is shipped', () => {
  const life = new Life()
    .start(1000)
    .send(2000)
    .pass(5000)
    .send(3000)
    .sync(3000)
    .ship(2000)
    .pass(10_000)
    .keepalive(3000)
  assert.equal(life.restorableAgeMs(), 15_000)
  // A commit of any moment up to the second message may lie behind the byte that came with it.
  life.ship(2001)
  assert.equal(life.restorableAgeMs(), 15_000)
  life.ship(3000)
  assert.equal(life.restorableAgeMs(), 0)
})

test('a message from a server that has more than it has sent yet proves nothing about the store', () => {
  const life = new Life().start(1000).send(2000, 2000).sync(2000).ship(2000)
  // The server commits a lot, sends a little of it, and is alive: a commit of just now is not in the store.
  life.pass(60_000).keepalive(50_000).pass(1000)
  assert.equal(life.positions.lag('receive').bytes, 48_000)
  assert.equal(life.restorableAgeMs(), 61_000)
})

test('a keepalive tells what was sent, not what the server has: it proves nothing either while more is known to be there', () => {
  const life = new Life().start(1000).send(1500).pass(60_000)
  life.send(2000, 50_000).sync(2000).ship(2000).pass(60_000).keepalive(2000)
  assert.equal(life.positions.lag('receive').bytes, 48_000)
  assert.equal(life.restorableAgeMs(), 120_000)
})

test('a receiver that catches up after an outage tells nothing newer until it has caught up, however young the messages are', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(hourMs)
  for (let at = 3000; at < 50_000; at += 1000) life.send(at, 50_000).sync(at).ship(at).pass(1000)
  assert.equal(life.restorableAgeMs(), hourMs + 47_000)
  life.send(50_000).sync(50_000).ship(49_999)
  assert.ok((life.restorableAgeMs() ?? 0) >= 47_000)
  life.ship(50_000)
  assert.equal(life.restorableAgeMs(), 0)
})

test('the same while the server writes faster than it sends: each of its words counts once all of it is shipped', () => {
  const life = new Life().start(1000).send(2000)
  for (let second = 1; second <= 10; second++) {
    life.pass(1000).send(2000 + second * 500, 2000 + second * 1000)
  }
  life.sync(7000).ship(7000)
  // It had 7000 after 5 s.
  assert.equal(life.restorableAgeMs(), 5000)
})

test('a first start that catches up knows nothing before it has', () => {
  const life = new Life().start(1000).send(2000, 3000).sync(2000).ship(2000)
  assert.equal(life.restorableAgeMs(), null)
  life.pass(1000).send(3000).sync(3000).ship(3000)
  assert.equal(life.restorableAgeMs(), 0)
})

test("restorable time never runs ahead of the server's newest word", () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000)
  const told = life.positions.restorableTimeMs()
  life.pass(hourMs)
  assert.equal(life.positions.restorableTimeMs(), told)
})

test('after a restart in an outage, what waits from before is not told as young', () => {
  // The spool holds 500 unshipped bytes of a time that nobody knows any more.
  const life = new Life().start(1500, 1000).pass(1000).keepalive(1500).pass(hourMs).send(2000).sync(2000).pass(1000)
  const [bytes, seconds] = life.lag('ship')
  assert.equal(bytes, 1000)
  assert.ok(seconds >= 3600, `told as ${seconds} s, and known to wait for an hour at least`)
})

test('what waits from before a start is as old as its file, as long as it waits, and at least as old as the start', () => {
  const life = new Life().start(3500, 1000).pass(5000)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[2500, 5], 5000], 'before anybody has spoken')
  const at = (ms: number): number => life.clock.nowMs() + ms
  life.positions.noteFound([
    { start: asLsn(1000), atMs: at(-hourMs) },
    { start: asLsn(2000), atMs: at(-60_000) },
    // Somebody has set our clock back since.
    { start: asLsn(3000), atMs: at(hourMs) },
  ])
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[2500, 3600], hourMs])
  assert.equal(life.positions.restorableTimeMs(), null)
  // It is as old where the server has spoken, whose clock is not ours, and where its file is shipped in part.
  life.start(3500).send(4000).sync(4000).ship(1500).pass(1000)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[2500, 3601], hourMs + 1000])
  life.ship(2000)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[2000, 61], 61_000])
  life.ship(3000)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[1000, 6], 6000])
  life.ship(3500)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[500, 1], 1000])
  life.ship(4000)
  assert.deepEqual([life.lag('ship'), life.unshippedAgeMs()], [[0, 0], null])
})

for (const [clock, aheadMs] of [
  ['5 min behind', -300_000],
  ['5 min ahead', 300_000],
  ['right', 0],
] as const) {
  test(`where the next host's clock is ${clock}, what waits stays as old as it is`, () => {
    const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(1000).send(3000).sync(3000).pass(60_000)
    const restorable = life.positions.restorableTimeMs()
    life.failOver(aheadMs).start(3000)
    assert.equal(life.unshippedAgeMs(), 60_000)
    life.send(4000, 5000).pass(500)
    assert.equal(life.unshippedAgeMs(), 60_500)
    assert.deepEqual(life.lag('ship'), [1000, 60.5])
    // What it wrote while we were away may be as old as the old host's last word.
    assert.deepEqual(life.lag('receive'), [1000, 60.5])
    assert.deepEqual(life.lag('sync'), [1000, 0.5])
    assert.equal(life.positions.restorableTimeMs(), restorable, 'as the old host told it')
    assert.equal(life.positions.restorableAgeMs(), 61_500)
    life.send(5000).sync(5000).ship(5000).pass(2000)
    assert.equal(life.restorableAgeMs(), 2000, 'as the new host tells it')
    assert.equal(life.positions.restorableAgeMs(), 2000)
    life.send(6000).pass(700)
    assert.equal(life.unshippedAgeMs(), 700)
  })
}

test('bytes that came with a message from before a reconnect do not make new ones old', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(hourMs)
  // The stream begins again at the segment's start, and one message holds old and new bytes.
  life.positions.noteServer(asLsn(2500), life.serverMs)
  life.positions.noteSent(asLsn(0), life.serverMs)
  life.positions.noteReceived(asLsn(2500))
  life.pass(100)
  assert.deepEqual(life.lag('sync'), [500, 0.1])
})

test('the same where more messages came with it', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(hourMs)
  life.positions.noteServer(asLsn(3000), life.serverMs)
  life.positions.noteSent(asLsn(0), life.serverMs)
  life.positions.noteSent(asLsn(2500), life.serverMs)
  life.positions.noteReceived(asLsn(3000))
  life.pass(100)
  assert.deepEqual(life.lag('sync'), [1000, 0.1])
})

test('an outage of a day: the ship lag is right, and so it is afterwards', () => {
  const life = new Life().start(megabyte)
  let at = megabyte
  for (let second = 0; second < 86_400; second++) {
    at += 1000
    life.send(at).sync(at).pass(1000)
  }
  const [bytes, seconds] = life.lag('ship')
  assert.equal(bytes, 86_400_000)
  assert.equal(seconds, 86_400)
  const halfway = life.ship(megabyte + 43_200_000).lag('ship')[1]
  assert.ok(halfway >= 43_200 && halfway < 43_200 + 180, `${halfway} s`)
  life
    .ship(at)
    .pass(hourMs)
    .send(at + 1000)
    .sync(at + 1000)
    .pass(250)
  assert.deepEqual(life.lag('ship'), [1000, 0.25])
})

test('a receive lag is told as young as it is, also after a day of work', () => {
  const life = new Life().start(megabyte)
  let at = megabyte
  for (let second = 0; second < 86_400; second++) {
    at += 1000
    life.send(at).sync(at).ship(at).pass(1000)
  }
  life.send(at + 1000, at + 2000).pass(2000)
  const [bytes, seconds] = life.lag('receive')
  assert.equal(bytes, 1000)
  assert.equal(seconds, 2)
})

test('what could not be made durable is received again, and the rest stays', () => {
  const { positions } = new Life().start(1000).send(5000).sync(3000).ship(2000)
  positions.noteWritten(asLsn(5000))
  positions.dropUnsynced()
  const { server, received, written, synced, shipped } = positions
  assert.deepEqual([server, received, written, synced, shipped], [5000n, 3000n, 3000n, 3000n, 2000n])
  assert.deepEqual(positions.lag('receive').bytes, 2000)
})

test('the oldest byte that is not in the store is as old as the message that first spoke of it', () => {
  const life = new Life().start(1000).pass(hourMs).keepalive(1000)
  assert.equal(life.unshippedAgeMs(), null, 'an idle server: all is in the store')
  // The server has more than it sends at once; what is not received counts, too.
  life.pass(20_000).send(2000, 5000).pass(1000).send(3000, 6000).pass(500)
  assert.equal(life.unshippedAgeMs(), 1500)
  life.sync(3000).ship(3000)
  assert.equal(life.unshippedAgeMs(), 1500)
  life.send(6000).sync(6000).ship(5500)
  assert.equal(life.unshippedAgeMs(), 500)
  life.ship(6000)
  assert.equal(life.unshippedAgeMs(), null)
})

test('what the server wrote while we were away may be as old as its last word before', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(60_000)
  life.start(2000).send(2500, 9000).pass(100)
  assert.equal(life.unshippedAgeMs(), 60_100)
  assert.deepEqual(life.lag('receive'), [6500, 60.1])
  // What was sent only now, waits here only since now.
  assert.deepEqual(life.lag('sync'), [500, 0.1])
  // It has caught up: what comes then is young.
  life.send(9000).sync(9000).ship(9000).pass(60_000).send(9500).pass(200)
  assert.equal(life.unshippedAgeMs(), 200)
})

test('the same where its first word is of the segment with which the stream begins again', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(60_000)
  life.start(2000).keepalive(1000).pass(100).send(2500, 9000)
  assert.equal(life.unshippedAgeMs(), 60_100)
})

test('a server that wrote nothing while we were away has nothing old afterwards', () => {
  const life = new Life().start(1000).send(2000).sync(2000).ship(2000).pass(hourMs)
  life.start(2000).keepalive(2000).pass(50).send(2100).pass(50)
  assert.equal(life.unshippedAgeMs(), 50)
})

test('what waits on another timeline was not sent when we began, days ago', () => {
  const life = new Life()
    .start(1000)
    .send(1500)
    .sync(1500)
    .ship(1500)
    .pass(24 * hourMs)
  life.send(3000).sync(3000).ship(1800).pass(2000)
  // The line parts at 2500, and goes on as another one.
  life.start(2500)
  life.positions.turnTo(asLsn(2500))
  life.send(2600).sync(2600).pass(1000)
  assert.deepEqual(life.lag('ship'), [800, 3])
  assert.equal(life.unshippedAgeMs(), 3000)
  life.ship(2550)
  assert.deepEqual(life.lag('ship'), [50, 1])
  life.ship(2600)
  assert.equal(life.unshippedAgeMs(), null)
  assert.equal(life.restorableAgeMs(), 1000)
})

test('what is received again after it was given up is as old as it was', () => {
  const life = new Life().start(1000).pass(hourMs).send(2000).sync(1500).ship(1500).pass(1000)
  life.positions.dropUnsynced()
  assert.deepEqual(life.lag('receive'), [500, 1])
})

test('the bell rings when more is synced or shipped, and at a start; never for what changes nothing', () => {
  const { positions } = new Life().start(1000)
  const ringsOf = (change: () => unknown): number => {
    const before = positions.bell.count
    change()
    return positions.bell.count - before
  }
  for (const change of ['noteSynced', 'noteShipped'] as const) {
    assert.equal(
      ringsOf(() => positions[change](asLsn(2000))),
      1,
      change,
    )
    assert.equal(
      ringsOf(() => positions[change](asLsn(2000))),
      0,
      `${change}, the same again`,
    )
    assert.equal(
      ringsOf(() => positions[change](asLsn(1500))),
      0,
      `${change}, going back`,
    )
  }
  assert.equal(
    ringsOf(() => positions.startAt(asLsn(3000), asLsn(3000))),
    1,
  )
  assert.equal(
    ringsOf(() => positions.dropUnsynced()),
    1,
  )
})

test('whatever happens, and in whatever order, the positions keep their order', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 200; round++) {
    const life = new Life().start(1000 + random.below(1000), 1000)
    const { positions } = life
    /** What was received once: a sync of it may end after it was given up. */
    let handed: Lsn = positions.received
    for (let step = 0; step < 100; step++) {
      const some = random.below(500)
      switch (random.below(7)) {
        case 0:
          life.send(Number(positions.received) + some, Number(positions.server) + random.below(1000))
          handed = positions.received
          break
        case 1:
          life.keepalive(Number(positions.server) + some)
          break
        case 2:
          positions.noteWritten(between(positions.written, positions.received))
          break
        case 3:
          positions.noteSynced(between(positions.synced, positions.written))
          break
        case 4:
          positions.noteShipped(between(positions.shipped, positions.synced))
          break
        case 5:
          life.pass(some)
          break
        case 6:
          if (random.below(5) > 0) break
          positions.dropUnsynced()
          // A sync that was under way when the writer failed may still succeed; the rest is given up again.
          positions.noteSynced(between(positions.synced, handed))
          positions.dropUnsynced()
          break
      }
      const { server, received, written, synced, shipped } = positions
      assert.ok(
        server >= received && received >= written && written >= synced && synced >= shipped && shipped > lsnZero,
        `round ${round}, step ${step}: ${[server, received, written, synced, shipped].join(' >= ')}`,
      )
      for (const stage of stages) {
        const { bytes, seconds } = positions.lag(stage)
        assert.ok(bytes >= 0 && seconds >= 0 && Number.isFinite(seconds))
      }
      assert.ok((positions.restorableTimeMs() ?? 0) <= life.serverMs)
    }
    function between(from: Lsn, to: Lsn): Lsn {
      return from >= to ? from : asLsn(from + BigInt(random.below(Number(to - from) + 1)))
    }
  }
})

test('a server owes an answer from the first time that it is asked until its next word, or another stream', () => {
  const life = new Life().start(1000)
  assert.deepEqual([life.positions.owedMs(), life.positions.lastWordAgeMs()], [null, null])
  life.keepalive(1000).pass(9000)
  assert.deepEqual([life.positions.owedMs(), life.positions.lastWordAgeMs()], [null, 9000])
  life.positions.noteAsked()
  life.pass(2000).positions.noteAsked()
  life.pass(1000)
  assert.deepEqual([life.positions.owedMs(), life.positions.lastWordAgeMs()], [3000, 12_000])
  life.keepalive(1000)
  assert.deepEqual([life.positions.owedMs(), life.positions.lastWordAgeMs()], [null, 0])
  life.positions.noteAsked()
  life.pass(5000).start(1000)
  assert.deepEqual([life.positions.owedMs(), life.positions.lastWordAgeMs()], [null, 5000])
})
