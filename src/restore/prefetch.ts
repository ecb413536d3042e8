/**
 * The background process: fetches segments into the folder of prefetch-folder.ts, ahead of a server that recovers, until
 * nobody needs it any more. Only whole objects, with the checks of `fetch`; a tail, or that something is absent, is
 * true only at the moment when it is asked for.
 *
 * Its errors are nobody's: a segment that it cannot have is one that the server will ask for, and `fetch` will then say why.
 */
import { open, readdir, readFile, rename, rm, statfs, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { sleep } from '../kit/abort.ts'
import { aliveName, askedName, beatMs, forName } from './prefetch-folder.ts'
import { isRecovering } from './prefetch-life.ts'
import { newestRequest, planPrefetch, segmentsAhead } from './prefetch-plan.ts'
import { type Known, knownBefore, receiveWhole } from './whole-segment.ts'

export interface PrefetchJob {
  readonly archive: Archive
  /** The folder. As "." it is the working directory's, wherever that is moved to. */
  readonly folder: string
  /** What its "for" says, without the end of the line. */
  readonly key: string
  /** Where the server wants segments; an absolute path. */
  readonly dest: string
  readonly segmentBytes: number
  /** How many to keep. */
  readonly segments: number
  /** Ends after so long without a request. */
  readonly idleMs: number
}

const parallel = 4
const lookMs = 20 // a segment of 1 MB is replayed in about that time, and several are kept

/**
 * Resolves when there is nothing left to do, with nothing left in the folder. Throws what keeps it from beginning, and
 * what keeps it from looking into the folder.
 */
export async function prefetch(job: PrefetchJob): Promise<void> {
  const ended = new AbortController()
  const ahead = new Ahead(job, ended.signal)
  try {
    await ahead.run()
  } finally {
    ended.abort(new Error('the recovery has ended'))
    await ahead.settled()
    for (const name of await namesIn(job.folder)) await rm(join(job.folder, name), { force: true })
  }
}

class Ahead {
  readonly #job: PrefetchJob
  readonly #signal: AbortSignal
  readonly #kept = new Set<string>()
  readonly #underWay = new Map<string, Promise<void>>()
  #asked = ''
  #told: string | null = null
  #without: string | null = null

  constructor(job: PrefetchJob, signal: AbortSignal) {
    this.#job = job
    this.#signal = signal
  }

  async run(): Promise<void> {
    const { folder, segmentBytes } = this.#job
    if (!(await this.#isWanted())) return
    const { systemIdentifier } = await knownBefore({ ...this.#job, name: '' }, this.#signal)
    const { bavail, bsize } = await statfs(folder)
    const segments = segmentsAhead(this.#job.segments, segmentBytes, bavail * bsize)
    const limits = { segmentBytes, segments, parallel }
    let requestMs = performance.now()
    let beatenMs = Number.NEGATIVE_INFINITY
    while (await this.#isWanted()) {
      const nowMs = performance.now()
      if (await this.#look()) requestMs = nowMs
      if (nowMs - requestMs > this.#job.idleMs) return
      if (nowMs - beatenMs > beatMs) {
        await utimes(join(folder, aliveName), new Date(), new Date())
        beatenMs = nowMs
      }
      const kept = [...this.#kept]
      const underWay = [...this.#underWay.keys()]
      const plan = planPrefetch({ asked: this.#asked, kept, underWay, without: this.#without }, limits)
      for (const name of plan.drop) await this.#drop(name)
      for (const name of plan.fetch) this.#begin(name, { segmentBytes, systemIdentifier })
      await sleep(lookMs, this.#signal)
    }
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay.values())
  }

  async #isWanted(): Promise<boolean> {
    const { folder, key, dest } = this.#job
    const text = await readFile(join(folder, forName), 'utf8').catch(() => null)
    return text === `${key}\n` && (await isRecovering(dirname(dirname(dest)), key))
  }

  /** Finds out what the server has asked for; false if it is the same as before. */
  async #look(): Promise<boolean> {
    // In this order: what is kept from now on is not missed in a list that was made before.
    const kept = [...this.#kept]
    const names = await readdir(this.#job.folder)
    const gone = kept.filter((name) => !names.includes(name))
    for (const name of gone) this.#kept.delete(name)
    const told = await readFile(join(this.#job.folder, askedName), 'utf8')
    const asked = newestRequest(this.#asked, told === this.#told ? null : told, gone)
    this.#told = told
    if (asked === this.#asked) return false
    this.#asked = asked
    this.#without = null
    return true
  }

  async #drop(name: string): Promise<void> {
    this.#kept.delete(name)
    await rm(join(this.#job.folder, name), { force: true })
  }

  #begin(name: string, known: Known): void {
    const fetched = this.#fetch(name, known)
      .catch(() => false)
      .then((isThere) => {
        this.#underWay.delete(name)
        if (isThere) this.#kept.add(name)
        else if (this.#without === null || name < this.#without) this.#without = name
      })
    this.#underWay.set(name, fetched)
  }

  async #fetch(name: string, known: Known): Promise<boolean> {
    const { archive, dest, folder } = this.#job
    const path = join(folder, `.${name}`)
    const file = await open(path, 'wx+', 0o600)
    try {
      if (!(await receiveWhole({ archive, name, dest }, known, { file, path }, this.#signal))) return false
      // Else the server would wait for the disk when it syncs what it was given.
      await file.sync()
      this.#signal.throwIfAborted()
      await rename(path, join(folder, name))
      return true
    } finally {
      await file.close()
      await rm(path, { force: true })
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => [])
}
