/** Our slot on hosts that are not streamed from: made, moved on, and never moved past what is durable here. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { freePort } from '../../src/cluster/free-port.ts'
import { ReplicationClient } from '../../src/pg/replication-client.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { commonUpTo, OtherHosts, type Streamed } from '../../src/receive/other-hosts.ts'
import { firstTimeline, forkOf, parseHistory, type TimelineHistory } from '../../src/wal/history.ts'
import { asLsn, formatLsn, type Lsn, lsnZero } from '../../src/wal/lsn.ts'
import { copyOf, follow, startWithBase, untilReplayed } from '../fault/copies.ts'
import { clientOf, segmentBytes, write } from '../fault/server.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { deadline, testVersions, value } from '../support/postgres.ts'

test('a slot elsewhere is moved to what is durable here, as far as the two lines are one and its server has come', () => {
  const second = parseHistory(2, '1\t0/500\tfailover\n')
  const otherSecond = parseHistory(2, '1\t0/300\tfailover\n')
  const cases: [TimelineHistory, TimelineHistory, number, number, number][] = [
    [firstTimeline, firstTimeline, 0x400, 0x600, 0x400],
    [firstTimeline, firstTimeline, 0x400, 0x200, 0x200],
    [second, firstTimeline, 0x400, 0x900, 0x400],
    [second, firstTimeline, 0x800, 0x900, 0x500],
    [firstTimeline, second, 0x800, 0x900, 0x500],
    [second, second, 0x800, 0x900, 0x800],
    [second, otherSecond, 0x800, 0x900, 0x300],
  ]
  for (const [ours, theirs, durable, flushed, expected] of cases) {
    assert.equal(commonUpTo(ours, theirs, asLsn(durable), asLsn(flushed)), asLsn(expected))
  }
})

const quiet = (): void => undefined

/** The hosts are looked after as if we streamed from one of them, and had this much. */
class Looking {
  readonly clock = new FakeClock()
  readonly warnings: string[] = []
  durable: Lsn = lsnZero
  streamed: Streamed | null = null
  readonly #hosts: OtherHosts
  readonly #places: readonly { readonly port: number }[]
  readonly #target

  constructor(places: readonly { readonly port: number }[], requireSlot = false) {
    const ports = places.map(({ port }) => port).join(',')
    const names = places.map(() => '127.0.0.1').join(',')
    this.#places = places
    this.#target = parseTarget(`host=${names} port=${ports} user=postgres sslmode=disable`, {})
    this.#hosts = new OtherHosts({
      target: this.#target,
      slot: 'walferry',
      requireSlot,
      streamed: () => this.streamed,
      durable: () => this.durable,
      clock: this.clock,
      log: { error: quiet, info: quiet, debug: quiet, warn: (message) => void this.warnings.push(message) },
    })
  }

  /** As if a stream had begun from this one. */
  async stream(from: Cluster, line: TimelineHistory): Promise<void> {
    const host = this.#target.hosts[this.#places.findIndex(({ port }) => port === from.connection.port)]
    assert.ok(host !== undefined)
    const client = await ReplicationClient.connect({ ...this.#target, hosts: [host] }, deadline())
    this.streamed = { host, line, server: await client.identify(deadline()) }
    await client.close()
  }

  /** A minute later. */
  async look(): Promise<void> {
    this.clock.pass(60_000)
    await this.#hosts.look(deadline())
  }
}

for (const version of await testVersions()) {
  test(`slots on a standby, on an old primary, and on what is neither (PostgreSQL ${version.major})`, async (t) => {
    const { server: primary, base } = await startWithBase(t, version)
    const standby = await copyOf(t, base)
    await follow(standby, primary)
    const onPrimary = await clientOf(t, primary)
    const onStandby = await clientOf(t, standby)
    const slotOf = (client: typeof onStandby): Promise<string> =>
      value(client, "SELECT coalesce(max(restart_lsn::text), 'none') FROM pg_replication_slots")
    const nobody = { port: await freePort() }
    const places = [primary.connection, nobody, standby.connection]
    const looking = new Looking(places)

    await t.test('nothing is done while nothing is streamed', async () => {
      await looking.look()
      assert.equal(await slotOf(onStandby), 'none')
    })

    await t.test('it is made on the standby, and a host that is away is told once', async () => {
      await looking.stream(primary, firstTimeline)
      await looking.look()
      assert.notEqual(await slotOf(onStandby), 'none')
      assert.equal(await slotOf(onPrimary), 'none')
      await looking.look()
      assert.equal(looking.warnings.length, 1)
      assert.match(looking.warnings[0] ?? '', new RegExp(`127\\.0\\.0\\.1:${nobody.port}: .*ECONNREFUSED`))
    })

    await t.test('it follows what is durable here, and never moves back', async () => {
      const durable = await write(onPrimary, 2.5 * segmentBytes)
      await untilReplayed(onStandby, await write(onPrimary, 1000))
      looking.durable = durable
      await looking.look()
      assert.equal(await slotOf(onStandby), formatLsn(durable))
      looking.durable = asLsn(durable - 1000n)
      await looking.look()
      assert.equal(await slotOf(onStandby), formatLsn(durable))
    })

    await t.test('with --require-slot it is not made, and that is told', async () => {
      await onStandby.query("SELECT pg_drop_replication_slot('walferry')")
      const careful = new Looking(places, true)
      await careful.stream(primary, firstTimeline)
      await careful.look()
      assert.equal(await slotOf(onStandby), 'none')
      assert.match(careful.warnings.join('\n'), /the slot "walferry" is not there, and --require-slot forbids/)
    })

    await t.test('a server of another cluster is left alone', async () => {
      const foreign = new Looking(places)
      await foreign.stream(primary, firstTimeline)
      const { streamed } = foreign
      assert.ok(streamed !== null)
      foreign.streamed = { ...streamed, server: { ...streamed.server, systemIdentifier: 1n } }
      await foreign.look()
      assert.equal(await slotOf(onStandby), 'none')
      assert.match(foreign.warnings.join('\n'), /it has system identifier \d+, and 127\.0\.0\.1:\d+ has 1/)
    })

    await t.test('on an old primary it is moved to the fork and no further, and not made', async () => {
      const common = await write(onPrimary, 1000)
      await untilReplayed(onStandby, common)
      await standby.stop('fast', deadline())
      await onPrimary.query("SELECT pg_create_physical_replication_slot('walferry', true)")
      await write(onPrimary, 2 * segmentBytes)
      await standby.start(deadline())
      await standby.promote(deadline())
      const promoted = await clientOf(t, standby)
      looking.durable = await write(promoted, 3 * segmentBytes)
      const history = await value(promoted, "SELECT pg_read_file('pg_wal/00000002.history')")
      const line = parseHistory(2, history)
      const fork = forkOf(line)?.switchPoint ?? lsnZero
      await looking.stream(standby, line)
      looking.warnings.length = 0
      await looking.look()
      assert.equal(await slotOf(onPrimary), formatLsn(fork))
      await looking.look()
      const told = looking.warnings.filter((line) => /is an old primary, on timeline 1/.test(line))
      assert.equal(told.length, 1, looking.warnings.join('\n'))
      await onPrimary.query("SELECT pg_drop_replication_slot('walferry')")
      await looking.look()
      assert.equal(await slotOf(onPrimary), 'none')
    })
  })
}
