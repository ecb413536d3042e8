/** promtool and prometheus, where the machine has them (Debian: the package `prometheus`). */
import { accessSync, constants } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import * as v from 'valibot'
import { freePort } from '../../src/cluster/free-port.ts'
import { sleep } from '../../src/kit/abort.ts'
import { tempFolder } from '../support/temp.ts'
import { type Program, startProgram } from '../support/walferry.ts'

/** The reason to skip a test that needs these programs, for node:test; false where all are there. */
export function without(...names: readonly ('promtool' | 'prometheus')[]): string | false {
  const missing = names.filter((name) => !isThere(name))
  return missing.length === 0
    ? false
    : `this machine has no ${missing.join(' and no ')} (Debian: apt install prometheus)`
}

function isThere(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Where to scrape, and with which labels beside `instance`. */
export interface Scraped {
  /** `127.0.0.1:9868` */
  readonly target: string
  readonly labels: Readonly<Record<string, string>>
}

const sample = v.object({ metric: v.record(v.string(), v.string()), value: v.tuple([v.number(), v.string()]) })
const answer = v.object({ status: v.literal('success'), data: v.object({ result: v.array(sample) }) })

export type Sample = v.InferOutput<typeof sample>

const pollMs = 200

/** A Prometheus that scrapes each second, and has rules. Killed at the end of the test. */
export class Prometheus {
  readonly #program: Program
  readonly #url: string

  private constructor(program: Program, url: string) {
    this.#program = program
    this.#url = url
  }

  /** @param rules a file of rules as an object */
  static async start(t: TestContext, scraped: readonly Scraped[], rules: object): Promise<Prometheus> {
    const folder = await tempFolder(t)
    const [config, rulesFile] = [join(folder, 'prometheus.json'), join(folder, 'rules.json')] // every JSON is YAML
    const jobs = scraped.map(({ target, labels }) => ({ targets: [target], labels }))
    await writeFile(rulesFile, JSON.stringify(rules))
    const document = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [rulesFile],
      scrape_configs: [{ job_name: 'walferry', static_configs: jobs }],
    }
    await writeFile(config, JSON.stringify(document))
    const address = `127.0.0.1:${await freePort()}`
    const args = [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      '--log.level=warn',
    ]
    const program = startProgram('prometheus', args, { cwd: folder })
    t.after(async () => {
      program.kill()
      await program.exit
    })
    return new Prometheus(program, `http://${address}`)
  }

  /** What an expression gives at this moment; null while it does not answer yet. */
  async query(expression: string, signal: AbortSignal): Promise<Sample[] | null> {
    if (this.#program.hasEnded) throw new Error(`prometheus has ended; it has said:\n${this.#program.stderr}`)
    const url = `${this.#url}/api/v1/query?${new URLSearchParams({ query: expression }).toString()}`
    const response = await fetch(url, { signal }).catch(() => null)
    signal.throwIfAborted()
    if (response === null || response.status === 503) return null
    const text = await response.text()
    if (!response.ok) throw new Error(`${expression}: ${text}`)
    return v.parse(answer, JSON.parse(text)).data.result
  }

  /** Asks again and again; rejects with what `missing` says when the signal aborts. */
  async until(signal: AbortSignal, missing: () => Promise<readonly string[]>): Promise<void> {
    for (let last: readonly string[] = []; ; ) {
      try {
        last = await missing()
        if (last.length === 0) return
        await sleep(pollMs, signal)
      } catch (cause) {
        if (!signal.aborted) throw cause
        throw new Error(`waited in vain for ${last.join(', ')}\n${this.#program.stderr}`, { cause })
      }
    }
  }
}
