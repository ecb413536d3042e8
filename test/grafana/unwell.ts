/** Receivers on a bad day, each with a listener to scrape, and labelled with what is wrong as the name of its cluster. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type pg from 'pg'
import { segmentKey } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { freePort } from '../../src/cluster/free-port.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { Receiving, type ReceivingOptions } from '../fault/receiving.ts'
import { flushedUpTo, segmentBytes, write } from '../fault/server.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import type { Scraped } from './prometheus-tools.ts'

export interface Unwell extends Scraped {
  /** What fires for it. What would be lost grows as well, where it waits long enough. */
  readonly alerts: readonly string[]
}

/** One of each kind. All of them, but `dead`, run in our own process. */
export async function startUnwell(t: TestContext, server: Cluster, client: pg.Client): Promise<Unwell[]> {
  const at = new Unwells(t, server, client)
  const running = [await at.stranger(), await at.refused(), await at.aside(), await at.denied(), await at.conflict()]
  const full = await at.full()
  // By then none of them has anything in its way but what is wrong with it.
  await write(client, 4 * segmentBytes)
  return [...running, ...(full === null ? [] : [full]), await at.dead()]
}

/** A receiver in our own process. It gives up at its end what it could not ship. */
export async function receiveHere(
  t: TestContext,
  cluster: string,
  options: Pick<ReceivingOptions, 'server'> & Partial<ReceivingOptions>,
): Promise<Scraped & { readonly receiving: Receiving }> {
  const listen = { host: '127.0.0.1', port: await freePort(), tls: null }
  const { store = new FaultyStore(), spool = await tempFolder(t) } = options
  const config = { slot: cluster, drainTimeoutMs: 0, ...options.config, listen }
  const receiving = new Receiving(t, { ...options, store, spool, config })
  return { receiving, target: `${listen.host}:${listen.port}`, labels: { cluster } }
}

function denying(): never {
  throw new WalferryError('STORE_DENIED', 'injected', { hint: 'Look at the store.' })
}

class Unwells {
  readonly #t: TestContext
  readonly #server: Cluster
  readonly #client: pg.Client

  constructor(t: TestContext, server: Cluster, client: pg.Client) {
    this.#t = t
    this.#server = server
    this.#client = client
  }

  /** Somebody whom it does not know streams from its slot. */
  async stranger(): Promise<Unwell> {
    return await this.#start('stranger', ['WalferrySlotInUse'], { config: { slot: 'walferry' } })
  }

  /** The role has no privilege. */
  async refused(): Promise<Unwell> {
    await this.#client.query('CREATE ROLE powerless LOGIN')
    const { port } = this.#server.connection
    const target = parseTarget(`host=127.0.0.1 port=${port} user=powerless sslmode=disable`, {})
    return await this.#start('refused', ['WalferryNotConnected', 'WalferryNotReady'], { config: { target } })
  }

  /** A file of its spool is too short for a segment. */
  async aside(): Promise<Unwell> {
    const spool = await tempFolder(this.#t)
    await writeFile(join(spool, '000000010000000000000003'), 'no segment')
    return await this.#start('aside', ['WalferrySpoolSetAside'], { spool })
  }

  /** The store does not let it write any more. */
  async denied(): Promise<Unwell> {
    const store = new FaultyStore()
    const started = await this.#start('denied', ['WalferryStoreFailing'], { store })
    await started.receiving.untilReady()
    store.before = denying
    return started
  }

  /** Somebody else has written the next segment into its archive. */
  async conflict(): Promise<Unwell> {
    const store = new FaultyStore()
    const started = await this.#start('conflict', ['WalferryConflict'], { store })
    await started.receiving.untilReady()
    const segno = segnoOf(await flushedUpTo(this.#client), segmentBytes) + 1
    store.set(segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'none'), Buffer.alloc(segmentBytes))
    return started
  }

  /** Nothing can be shipped, and the disk of its spool is small; null where none can be mounted. */
  async full(): Promise<Unwell | null> {
    const disk = await smallDisk(this.#t, 3)
    if ('reason' in disk) {
      this.#t.diagnostic(disk.reason)
      return null
    }
    const store = new FaultyStore()
    const spool = join(disk.folder, 'spool')
    const started = await this.#start('full', ['WalferrySpoolFailing'], { store, spool })
    await started.receiving.untilReady()
    store.before = denying
    return started
  }

  /** Nobody listens. */
  async dead(): Promise<Unwell> {
    const target = `127.0.0.1:${await freePort()}`
    return { target, labels: { cluster: 'dead' }, alerts: ['WalferryReceiverAbsent'] }
  }

  async #start(
    cluster: string,
    alerts: readonly string[],
    options: Partial<ReceivingOptions>,
  ): Promise<Unwell & { readonly receiving: Receiving }> {
    const started = await receiveHere(this.#t, cluster, { server: this.#server.connection, ...options })
    return Object.assign(started, { alerts })
  }
}
