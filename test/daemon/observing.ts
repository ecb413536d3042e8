/** A receiver that listens, and is asked as Prometheus and `walferry status` ask. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import * as v from 'valibot'
import { type Status, statusSchema } from '../../src/serve/status.ts'
import { Receiving, type ReceivingOptions } from '../fault/receiving.ts'
import { deadline } from '../support/postgres.ts'

/** One scrape: series by their name and labels, as they are written. */
export type Scrape = ReadonlyMap<string, number>

export class Observed extends Receiving {
  constructor(t: TestContext, options: ReceivingOptions) {
    super(t, { ...options, config: { listen: { host: '127.0.0.1', port: 0, tls: null }, ...options.config } })
  }

  async ask(path: string): Promise<string> {
    const url = /listening url=(\S+)/.exec(this.lines.join(''))?.[1] ?? assert.fail('it does not listen yet')
    const response = await fetch(url + path, { signal: deadline() })
    return await response.text()
  }

  async scrape(): Promise<Scrape> {
    const lines = (await this.ask('/metrics')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(
      lines.map((line) => {
        const [, series = '', text = ''] = /^(\S+(?:\{.*\})?) (\S+)$/.exec(line) ?? assert.fail(line)
        return [series, text === '+Inf' ? Infinity : Number(text)]
      }),
    )
  }

  /** A scrape on which all of these are so. */
  async untilTold(wanted: Readonly<Record<string, number | ((value: number) => boolean)>>): Promise<Scrape> {
    let scrape: Scrape = new Map()
    const isTold = ([series, want]: [string, number | ((value: number) => boolean)]): boolean => {
      const told = scrape.get(series)
      return told !== undefined && (typeof want === 'number' ? told === want : want(told))
    }
    try {
      await this.until(async () => {
        scrape = await this.scrape()
        return Object.entries(wanted).every(isTold)
      })
    } catch (cause) {
      const lacking = Object.entries(wanted).filter((one) => !isTold(one))
      const told = lacking.map(([series]) => `${series} ${scrape.get(series)}`).join(', ')
      throw new Error(`not told in time: ${told}`, { cause })
    }
    return scrape
  }

  async status(): Promise<Status> {
    return v.parse(statusSchema, JSON.parse(await this.ask('/status.json')))
  }
}

/** For `untilTold`. */
export const atLeast = (least: number) => (told: number) => told >= least
