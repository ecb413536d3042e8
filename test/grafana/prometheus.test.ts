/**
 * A real Prometheus scrapes real receivers, some of them on a bad day: the queries of the dashboard give something, the
 * alerts that say so fire, and none does for the receiver that is well, until its server is killed.
 */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { clientOf, startServer } from '../fault/server.ts'
import { deadline, newestVersion } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { program, runProgram, startReceive, urlOf } from '../support/walferry.ts'
import { readAlerts } from './alerts-file.ts'
import { type DashboardQuery, queriesOf, readDashboard } from './dashboard-file.ts'
import { Prometheus, type Scraped, without } from './prometheus-tools.ts'
import { receiveHere, startUnwell } from './unwell.ts'

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

/**
 * Most with little patience, which outlasts a few scrapes that are late on a busy machine. What is a forecast keeps its
 * own: of a few seconds it tells nothing. So does what is not to fire here.
 */
function impatientRules(): object {
  const patient = [
    'WalferryNoBackup',
    'WalferryReceiverDown',
    'WalferryReconnects',
    'WalferrySpoolFilling',
    'WalferrySpoolNearlyFull',
  ]
  const rules = readAlerts().map((one) => Object.assign(one, patient.includes(one.alert) ? {} : { for: '4s' }))
  return { groups: [{ name: 'walferry', rules }] }
}

function substituted({ expr }: DashboardQuery, cluster: string): string {
  const values = { $cluster: cluster, $instance: '.*', $__rate_interval: '15s' }
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(name, value), expr)
}

/** A receiver as a process of its own, in whose archive lies a base backup; and its partner, which waits for the slot. */
async function startPair(t: TestContext, server: Cluster): Promise<Scraped[]> {
  const store = await tempFolder(t)
  const backup = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--with-wal']
  const taken = await runProgram(program('walferry'), backup, { signal: deadline() })
  assert.equal(taken.code, 0, taken.stderr)
  const streaming = startReceive(t, { server: server.connection, store, spool: await tempFolder(t) })
  await streaming.waitForReady(deadline())
  const waiting = await receiveHere(t, 'well', { server: server.connection, config: { slot: 'walferry' } })
  return [{ target: new URL(await streaming.url(deadline())).host, labels: { cluster: 'well' } }, waiting]
}

for (const version of await newestVersion()) {
  describe(`Prometheus and receivers (PostgreSQL ${version.major})`, { skip: without('prometheus') }, () => {
    test('queries give data, and alerts fire for those that are not well', async (t) => {
      const server = await startServer(t, version)
      const client = await clientOf(t, server)
      const pair = await startPair(t, server)
      const unwell = await startUnwell(t, server, client)
      const scraped = [...pair, ...unwell].map(({ target, labels }) => ({ target, labels }))
      const prometheus = await Prometheus.start(t, scraped, impatientRules())

      await t.test('every failure fires the alert that says so', async () => {
        const signal = deadline()
        await prometheus.until(signal, async () => {
          const firing = await firingAlerts(prometheus, signal)
          const wanted = unwell.flatMap(({ labels, alerts }) => alerts.map((name) => `${labels['cluster']} ${name}`))
          return wanted.filter((one) => !firing.includes(one))
        })
      })

      await t.test('the queries of the dashboard give data', async () => {
        const signal = deadline()
        const queries = queriesOf(readDashboard()).filter(({ of }) => !(of in withoutData))
        const waitedFor = new Set(queries)
        await prometheus.until(signal, async () => {
          // A rate needs WAL that flows.
          await client.query("SELECT pg_logical_emit_message(true, 'flow', repeat('x', 1000))")
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

      // Scrapes that are late on a busy machine can make one fire for a while: rules that wait for seconds only, see above.
      await t.test('no alert goes on firing for a pair that is well', async () => {
        const signal = deadline()
        await prometheus.until(signal, async () => {
          const firing = await firingAlerts(prometheus, signal)
          return firing.filter((one) => one.startsWith('well '))
        })
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
