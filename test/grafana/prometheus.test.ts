/**
 * A real Prometheus scrapes real receivers, some of them on a bad day: the queries of the dashboard give something, the
 * alerts that say so fire, and none does for the receiver that is well, until its server is killed.
 */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { segmentKey } from '../../src/archive/keys.ts'
import { freePort } from '../../src/cluster/free-port.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { Receiving, type ReceivingOptions } from '../fault/receiving.ts'
import { clientOf, flushedUpTo, segmentBytes, startServer, write } from '../fault/server.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { deadline, newestVersion } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { program, runProgram, startReceive, urlOf } from '../support/walferry.ts'
import { readAlerts } from './alerts-file.ts'
import { type DashboardQuery, queriesOf, readDashboard } from './dashboard-file.ts'
import { Prometheus, type Scraped, without } from './prometheus-tools.ts'

/** What fires for the receiver of that cluster. What would be lost grows as well, where it waits long enough. */
const expected: Readonly<Record<string, readonly string[]>> = {
  conflict: ['WalferryConflict'],
  denied: ['WalferryStoreFailing'],
  dead: ['WalferryReceiverAbsent'],
  refused: ['WalferryNotConnected', 'WalferryNotReady'],
  aside: ['WalferrySpoolSetAside'],
  stranger: ['WalferrySlotInUse'],
}

/** Queries that only an event gives data, which does not come to pass here. */
const withoutData: Readonly<Record<string, string>> = {
  'Timeline switches': 'no standby is promoted',
  Gaps: 'no WAL is lost',
  'Last failure of a base backup': 'there is no schedule',
  'Duration of base backups': 'there is no schedule',
  'Size of base backups': 'there is no schedule',
}
/** Panels of several queries of which not all can have data at once. */
const notAllAtOnce: readonly string[] = ["The slot's state", 'WAL that the slot keeps']

/** Those for which a test need not wait for a minute. What is a forecast keeps its patience: of a few seconds it tells nothing. */
function impatientRules(): object {
  const patient = ['WalferryNoBackup', 'WalferrySpoolFilling', 'WalferrySpoolNearlyFull', 'WalferryReconnects']
  const rules = readAlerts().map((one) => Object.assign(one, patient.includes(one.alert) ? {} : { for: '2s' }))
  return { groups: [{ name: 'walferry', rules }] }
}

function substituted({ expr }: DashboardQuery, cluster: string): string {
  const values = { $cluster: cluster, $instance: '.*', $__rate_interval: '15s' }
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(name, value), expr)
}

/** A receiver in our own process, with a listener of its own. */
async function receiveHere(
  t: TestContext,
  cluster: string,
  options: ReceivingOptions,
): Promise<Scraped & { receiving: Receiving }> {
  const listen = { host: '127.0.0.1', port: await freePort() }
  const receiving = new Receiving(t, {
    ...options,
    config: { slot: cluster, drainTimeoutMs: 0, ...options.config, listen },
  })
  return { receiving, target: `${listen.host}:${listen.port}`, labels: { cluster } }
}

for (const version of await newestVersion()) {
  describe(`Prometheus and receivers (PostgreSQL ${version.major})`, { skip: without('prometheus') }, () => {
    test('queries give data, and alerts fire for those that are not well', async (t) => {
      const server = await startServer(t, version)
      const client = await clientOf(t, server)
      await client.query('CREATE ROLE powerless LOGIN')

      // The one that is well, as a process of its own, with a base backup; and its partner, which waits for the slot.
      const store = await tempFolder(t)
      const backup = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--with-wal']
      const taken = await runProgram(program('walferry'), backup, { signal: deadline() })
      assert.equal(taken.code, 0, taken.stderr)
      const well = startReceive(t, { server: server.connection, store, spool: await tempFolder(t) })
      await well.waitForReady(deadline())
      const scraped: Scraped[] = [{ target: new URL(await well.url(deadline())).host, labels: { cluster: 'well' } }]
      const slot = { config: { slot: 'walferry' } }
      const common = { server: server.connection }

      const partner = await receiveHere(t, 'well', {
        ...common,
        ...slot,
        store: new FaultyStore(),
        spool: await tempFolder(t),
      })
      const stranger = await receiveHere(t, 'stranger', {
        ...common,
        ...slot,
        store: new FaultyStore(),
        spool: await tempFolder(t),
      })
      const target = parseTarget(`host=127.0.0.1 port=${server.connection.port} user=powerless sslmode=disable`, {})
      const refused = await receiveHere(t, 'refused', {
        ...common,
        store: new FaultyStore(),
        spool: await tempFolder(t),
        config: { target },
      })

      const spool = await tempFolder(t)
      await mkdir(spool, { recursive: true })
      await writeFile(join(spool, '000000010000000000000003'), 'no segment')
      const aside = await receiveHere(t, 'aside', { ...common, store: new FaultyStore(), spool })

      const deniedStore = new FaultyStore()
      const denied = await receiveHere(t, 'denied', { ...common, store: deniedStore, spool: await tempFolder(t) })
      await denied.receiving.untilReady()
      deniedStore.before = () => {
        throw new WalferryError('STORE_DENIED', 'injected', { hint: 'Look at the store.' })
      }

      const conflictStore = new FaultyStore()
      const conflict = await receiveHere(t, 'conflict', { ...common, store: conflictStore, spool: await tempFolder(t) })
      await conflict.receiving.untilReady()
      const segno = segnoOf(await flushedUpTo(client), segmentBytes) + 1
      conflictStore.set(
        segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'none'),
        Buffer.alloc(segmentBytes),
      )
      await write(client, 2 * segmentBytes)

      const dead = { target: `127.0.0.1:${await freePort()}`, labels: { cluster: 'dead' } }
      scraped.push(partner, stranger, refused, aside, denied, conflict, dead)
      const prometheus = await Prometheus.start(
        t,
        scraped.map(({ target: at, labels }) => ({ target: at, labels })),
        impatientRules(),
      )

      await t.test('every failure fires the alert that says so', async () => {
        const signal = deadline()
        await prometheus.until(signal, async () => {
          const firing = await firingAlerts(prometheus, signal)
          const wanted = Object.entries(expected).flatMap(([cluster, alerts]) =>
            alerts.map((name) => `${cluster} ${name}`),
          )
          return wanted.filter((one) => !firing.includes(one))
        })
      })

      await t.test('the queries of the dashboard give data', async () => {
        const signal = deadline()
        const queries = queriesOf(readDashboard()).filter(({ of }) => !(of in withoutData))
        const waitedFor = new Set(queries)
        await prometheus.until(signal, async () => {
          for (const query of waitedFor) {
            for (const cluster of ['.*', 'well']) {
              const samples = await prometheus.query(substituted(query, cluster), signal)
              if ((samples ?? []).some(({ value: [, figure] }) => figure !== 'NaN')) waitedFor.delete(query)
            }
          }
          const answered = queries.filter((query) => !waitedFor.has(query)).map(({ of }) => of)
          const open = [...waitedFor].filter(({ of }) => !(notAllAtOnce.includes(of) && answered.includes(of)))
          return open.map(({ of, expr }) => `${of}: ${expr}`)
        })
        // What is said to have none is asked all the same: it has to be right.
        for (const query of queriesOf(readDashboard())) await prometheus.query(substituted(query, '.*'), signal)
      })

      await t.test('no alert fires for a pair that is well', async () => {
        const ever = await prometheus.query(
          'last_over_time(ALERTS{cluster="well", alertstate="firing"}[1h])',
          deadline(),
        )
        assert.deepEqual(
          ever?.map(({ metric }) => metric),
          [],
        )
      })

      await t.test('without its server the pair is not connected', async () => {
        await server.kill(deadline())
        const signal = deadline()
        await prometheus.until(signal, async () => {
          const firing = await firingAlerts(prometheus, signal)
          return firing.includes('well WalferryNotConnected') ? [] : ['the alert']
        })
      })
    })
  })
}

/** `well WalferryNotConnected`, by the cluster's label. */
async function firingAlerts(prometheus: Prometheus, signal: AbortSignal): Promise<string[]> {
  const samples = (await prometheus.query('ALERTS{alertstate="firing"}', signal)) ?? []
  return samples.map(({ metric }) => `${metric['cluster']} ${metric['alertname']}`)
}
