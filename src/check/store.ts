/**
 * Tries the store with an object of its own: put, read back whole and in part, list, delete, and put twice on condition.
 * Nothing stays, also after an abort, unless the store does not let us delete.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { probeKey } from '../archive/keys.ts'
import { WalferryError } from '../kit/errors.ts'
import { type ConditionalPut, probeConditionalPut } from '../store/conditional-put.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type Finding, failedWith, ok, skipped, warning } from './finding.ts'

const probeBytes = 4096
const readFrom = 1000
/** For what has to be deleted, also after an abort. */
const tidyMs = 5000

/** Rejects only with the signal's reason. */
export async function checkStore(store: ObjectStore, signal: AbortSignal): Promise<Finding[]> {
  const key = probeKey(randomUUID())
  const body = randomBytes(probeBytes)
  const run = new Run(signal)
  try {
    await run.step('store write', [], async () => {
      await store.put(key, body, { ifAbsent: false, signal })
      return ok('store write', store.url)
    })
    await run.step('store read', ['store write'], () => readBack(store, key, body, signal))
    await run.step('store list', ['store write'], () => findListed(store, key, signal))
    await run.step('store delete', ['store write'], () => deleteIt(store, key, signal))
    // Without deleting, each check would leave one object more.
    await run.step('store condition', ['store write', 'store delete'], async () =>
      conditionFinding(await probeConditionalPut(store, probeKey(randomUUID()), signal)),
    )
    return run.findings
  } finally {
    // Whatever came before: an answer may have been lost on its way, and the object be there.
    const options = { signal: AbortSignal.timeout(tidyMs) }
    // Where this fails, too, "store delete" has said so, or whoever aborted knows.
    await store.deleteMany([key], options).catch(() => undefined)
  }
}

/** Steps in a row; one that needs a step which failed is skipped. */
class Run {
  readonly findings: Finding[] = []
  readonly #signal: AbortSignal

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  async step(name: string, needs: readonly string[], work: () => Promise<Finding>): Promise<void> {
    const broken = needs.find((need) => !this.#isDone(need))
    if (broken !== undefined) {
      this.findings.push(skipped(name, `"${broken}" failed`))
      return
    }
    try {
      const finding = await work()
      this.#signal.throwIfAborted()
      this.findings.push(finding)
    } catch (error) {
      this.#signal.throwIfAborted()
      this.findings.push(failedWith(name, error))
    }
  }

  #isDone(name: string): boolean {
    return this.findings.some((finding) => finding.name === name && finding.state === 'ok')
  }
}

async function readBack(store: ObjectStore, key: string, body: Buffer, signal: AbortSignal): Promise<Finding> {
  for (const from of [0, readFrom]) {
    const parts: Uint8Array[] = []
    for await (const part of await store.get(key, { from, signal })) parts.push(part)
    const read = Buffer.concat(parts)
    if (read.equals(body.subarray(from))) continue
    throw new WalferryError(
      'STORE_FAILED',
      `of ${body.length} bytes of ${key}, other bytes came back from byte ${from} on (${read.length} of ${body.length - from})`,
      { hint: 'Look for a proxy or a cache before the store: it has to give back what was put, also in part (Range).' },
    )
  }
  return ok('store read', `${body.length} bytes came back as they were, whole and in part`)
}

async function findListed(store: ObjectStore, key: string, signal: AbortSignal): Promise<Finding> {
  for await (const found of store.list({ prefix: key, signal })) {
    if (found.key === key) return ok('store list', 'an object is listed as soon as it is stored')
  }
  throw new WalferryError('STORE_FAILED', `${key} was stored, and is not listed`, {
    hint: 'The store must list an object as soon as it is stored: a listing is how a recovery finds the WAL.',
  })
}

async function deleteIt(store: ObjectStore, key: string, signal: AbortSignal): Promise<Finding> {
  try {
    await store.deleteMany([key], { signal })
    if ((await store.head(key, { signal })) === null) return ok('store delete', 'an object is gone once it is deleted')
  } catch (error) {
    signal.throwIfAborted()
    const { what, ...finding } = failedWith('store delete', error)
    return { ...finding, what: `${what}; ${key} may be left there` }
  }
  throw new WalferryError('STORE_FAILED', `${key} was deleted, and is still there`, {
    hint: 'Without deletes the archive only grows, and a note that a receiver is behind stays and holds recoveries up.',
  })
}

export function conditionFinding(found: ConditionalPut): Finding {
  const name = 'store condition'
  if (found === 'honoured') return ok(name, 'the second of two writers of one key is kept away')
  return warning(
    name,
    `the store ${found === 'refused' ? 'refuses' : 'ignores'} conditional writes (If-None-Match): ` +
      `that two receivers write to the archive at once cannot be excluded`,
    'Let one receiver alone write to this archive, or use a store that honours If-None-Match.',
  )
}
