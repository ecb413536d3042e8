/** An S3 store on loopback, in memory, in a process of its own so that it is not measured with what uses it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export type S3Question =
  | { readonly ask: 'tally' }
  /** Takes all objects away, and what was uploaded of others. Only while no request is under way: its memory is used again. */
  | { readonly ask: 'empty' }
  /** What was stored, too. */
  | { readonly ask: 'stored' }
  /** Puts objects with the names of segments there, all of them one and the same. */
  | {
      readonly ask: 'fill'
      readonly from: number
      readonly count: number
      readonly segmentBytes: number
      readonly prefix: string
    }

export interface S3Answer {
  readonly endpoint: string
  readonly environment: Readonly<Record<string, string>>
  /** By operation, all so far. */
  readonly requests: Readonly<Record<string, number>>
  readonly receivedBytes: number
  readonly objects: number
  readonly cpuSeconds: number
  readonly stored: readonly { readonly key: string; readonly atMs: number }[]
}

export interface S3 {
  /** Options for the store, and the variables that go with them. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  ask(question: S3Question): Promise<S3Answer>
}

const bucket = 'bench'
export const prefix = 'archive/'

export interface S3Settings {
  /** How long each answer takes at least. */
  readonly latencyMs?: number
  /** Memory that it has beforehand, below 4 GiB; what goes beyond finds its own. */
  readonly roomBytes?: number
}

/** Runs `work` with an empty store. */
export async function withS3<T>(settings: S3Settings, work: (s3: S3) => Promise<T>): Promise<T> {
  const { latencyMs = 0, roomBytes = 0 } = settings
  const args = [latencyMs, roomBytes].map((number) => number.toFixed(0))
  const child = fork(join(import.meta.dirname, 's3-process.js'), args, { execArgv: [] })
  try {
    const ask = (question: S3Question): Promise<S3Answer> => asked(child, question)
    const { endpoint, environment } = await ask({ ask: 'tally' })
    const store = `s3://${bucket}/${prefix.slice(0, -1)}`
    return await work({ args: ['--store', store, '--s3-endpoint', endpoint], env: environment, ask })
  } finally {
    const ended = once(child, 'exit')
    child.disconnect()
    await ended
  }
}

export function requestsOf(answer: S3Answer): number {
  return Object.values(answer.requests).reduce((sum, count) => sum + count, 0)
}

/** What was asked between two tallies: `2 GetObject, 1 ListObjectsV2`. */
export function kindsBetween(before: S3Answer, after: S3Answer): string {
  return Object.entries(after.requests)
    .map(([operation, count]) => ({ operation, count: count - (before.requests[operation] ?? 0) }))
    .filter(({ count }) => count > 0)
    .map(({ operation, count }) => `${count} ${operation}`)
    .join(', ')
}

/** One question at a time. */
async function asked(child: ChildProcess, question: S3Question): Promise<S3Answer> {
  const ended = new AbortController()
  const onExit = (): void => ended.abort(new Error('the S3 server has ended'))
  child.once('exit', onExit)
  try {
    child.send(question)
    const [answer] = await once(child, 'message', { signal: ended.signal })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the only thing that s3-process.ts sends
    return answer as S3Answer
  } finally {
    child.off('exit', onExit)
  }
}
