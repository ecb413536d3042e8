/** Clients that commit as fast as they can, and remember exactly what the server has acknowledged. */
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Connection } from '../cluster/query.ts'

export interface Commit {
  readonly id: number
  readonly payload: string
  /** When the acknowledgement came, by performance.now(). */
  readonly atMs: number
}

export const writerClients = 4

export class DemoWriter {
  /** Every commit that was acknowledged, in the order of the acknowledgements. */
  readonly acknowledged: Commit[] = []
  readonly #connection: Connection
  #nextId = 1
  #ended: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(connection: Connection) {
    this.#connection = connection
  }

  start(): void {
    this.#ended = Promise.allSettled(Array.from({ length: writerClients }, () => this.#write()))
  }

  /** Resolves once every client has stopped, also if its server has died under it. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#ended
  }

  async #write(): Promise<void> {
    const client = new pg.Client({ ...this.#connection, password: '', ssl: false })
    client.on('error', () => undefined)
    await client.connect()
    try {
      while (!this.#stopped) {
        const id = this.#nextId++
        const payload = payloadOf(id)
        await client.query('INSERT INTO demo (id, payload) VALUES ($1, $2)', [id, payload])
        this.acknowledged.push({ id, payload, atMs: performance.now() })
      }
    } finally {
      await client.end().catch(() => undefined)
    }
  }
}

/** Some 256 bytes that look random, and that anybody can compute again. */
export function payloadOf(id: number): string {
  return createHash('sha512').update(`walferry ${id}`).digest('hex').repeat(2)
}
