/**
 * The background process: fetches segments into the folder of prefetch-folder.ts, ahead of a server that recovers, until
 * nobody needs it any more. Only whole objects, with the checks of `fetch`; a tail, or that something is absent, is
 * true only at the moment when it is asked for.
 *
 * Its errors are nobody's: a segment that it cannot have is one that the server will ask for, and `fetch` will then say why.
 */
import { type FSWatcher, watch } from 'node:fs'
import { open, readdir, readFile, rename, rm, statfs, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { Bell } from '../kit/bell.ts'
import { isSegmentName } from '../wal/segment.ts'
import { aliveName, askedName, beatMs, forName } from './prefetch-folder.ts'
import { isRecovering } from './prefetch-life.ts'
import { newestRequest, planPrefetch, type PrefetchLimits, segmentsAhead } from './prefetch-plan.ts'
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
/** For what no change of the folder tells: that the server has ended, or its recovery. */
const lookMs = 250
/** Where changes cannot be watched. A segment of 1 MB is replayed in about that time, and several are kept. */
const blindLookMs = 20

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
  /** Rings when the folder has changed, or nothing more comes from what was under way. */
  readonly #news = new Bell()
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
    const watcher = this.#watch()
    try {
      await this.#keepAhead(limits, systemIdentifier, watcher === null ? blindLookMs : lookMs)
    } finally {
      watcher?.close()
    }
  }

  async #keepAhead(
    limits: PrefetchLimits,
    systemIdentifier: Known['systemIdentifier'],
    pauseMs: number,
  ): Promise<void> {
    const { folder, segmentBytes } = this.#job
    let requestMs = performance.now()
    let beatenMs = Number.NEGATIVE_INFINITY
    for (let seen = this.#news.count; await this.#isWanted(); seen = this.#news.count) {
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
      await this.#news.after(seen, this.#signal, pauseMs)
    }
  }

  /** Null where the system does not let us: it has a limit on watches, and may have reached it. */
  #watch(): FSWatcher | null {
    try {
      // Not what we write ourselves, while it is written.
      const watcher = watch(this.#job.folder, (_event, name) => {
        if (name === askedName || name === null || isSegmentName(name)) this.#news.ring()
      })
      // From then on it is silent, and the folder is looked at all the same.
      watcher.on('error', () => undefined)
      return watcher
    } catch {
      return null
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
        this.#news.ring()
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
