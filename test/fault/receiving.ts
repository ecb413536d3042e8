/**
 * A receiver in our own process, beside a real server.
 *
 *     const receiving = await startReceiving(t, { server: cluster.connection, store, spool })
 *     await receiving.untilShipped(await flushedUpTo(client))
 *     await receiving.stop()
 */
import { readdir } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import type { Connection } from '../../src/cluster/query.ts'
import { openLog } from '../../src/daemon/log.ts'
import { type Backups, ReceiveDaemon, type ReceiveConfig } from '../../src/daemon/receive-daemon.ts'
import { orAbort, sleep } from '../../src/kit/abort.ts'
import { parseTarget } from '../../src/pg/target.ts'
import type { Positions } from '../../src/spool/positions.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import type { Lsn } from '../../src/wal/lsn.ts'
import { deadline } from '../support/postgres.ts'

export interface ReceivingOptions {
  readonly server: Pick<Connection, 'host' | 'port'>
  readonly store: ObjectStore
  readonly spool: string
  readonly config?: Partial<ReceiveConfig>
  readonly backups?: Backups
}

const pollMs = 5

/** The files of a spool, without the one that is locked. */
export async function filesIn(spool: string): Promise<string[]> {
  return (await readdir(spool)).filter((name) => name !== 'lock').toSorted()
}

export class Receiving {
  readonly daemon: ReceiveDaemon
  readonly lines: string[]
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #hasEnded = false

  constructor(t: TestContext, options: ReceivingOptions) {
    const lines: string[] = []
    this.lines = lines
    const { server } = options
    const config: ReceiveConfig = {
      version: 'test',
      target: parseTarget(`host=${server.host} port=${server.port} user=postgres sslmode=disable`, {}),
      slot: 'walferry',
      spoolFolder: options.spool,
      statusIntervalMs: 10_000,
      loop: true,
      endpos: null,
      ack: 'spool',
      ackStoreTimeoutMs: 30_000,
      onGap: 'continue',
      requireSlot: false,
      shipIntervalMs: 0,
      uploadConcurrency: 4,
      codec: 'lz4',
      drainTimeoutMs: 10_000,
      listen: null,
      ...options.config,
    }
    this.daemon = new ReceiveDaemon(
      config,
      new Archive(options.store),
      openLog('debug', 'text', (line) => lines.push(line)),
      options.backups ?? null,
    )
    this.#running = this.daemon.run(this.#stop.signal)
    this.#running
      .catch(() => undefined)
      .finally(() => {
        this.#hasEnded = true
      })
    t.after(async () => {
      this.#stop.abort(new Error('the test is over'))
      await this.#running.catch(() => undefined)
    })
  }

  get positions(): Positions {
    return this.daemon.positions
  }

  /** Settles as the daemon's run does. */
  get ended(): Promise<void> {
    return this.#running
  }

  /** The codes of why it is not ready. */
  get reasons(): string[] {
    return this.daemon.reasons().map((reason) => reason.code)
  }

  /** Asks it to stop, and waits until it has drained. */
  async stop(): Promise<void> {
    this.askToStop()
    await orAbort(this.#running, deadline())
  }

  askToStop(): void {
    this.#stop.abort(new Error('stopped by the test'))
  }

  async untilShipped(lsn: Lsn): Promise<void> {
    await this.until(() => this.positions.shipped >= lsn)
  }

  async untilSynced(lsn: Lsn): Promise<void> {
    await this.until(() => this.positions.synced >= lsn)
  }

  async untilReady(): Promise<void> {
    await this.until(() => this.reasons.length === 0)
  }

  /** Looked at again and again; rejects, with what it has said, if it ends before or nothing comes of it. */
  async until(isReached: () => boolean | Promise<boolean>): Promise<void> {
    const signal = deadline()
    while (!(await isReached())) {
      if (this.#hasEnded) {
        await this.#running
        throw new Error(`it has ended; it has said:\n${this.lines.join('')}`)
      }
      await sleep(pollMs, signal).catch((cause: unknown) => {
        throw new Error(`waited in vain; it has said:\n${this.lines.join('')}`, { cause })
      })
    }
  }

  /** How many lines of its log match. */
  count(pattern: RegExp): number {
    return this.lines.filter((line) => pattern.test(line)).length
  }
}
