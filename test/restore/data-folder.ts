/**
 * As much of a data folder as `fetch` looks at: pg_wal, global/pg_control, standby.signal. And the question itself,
 * asked in this process, with the exit code that bin/walferry would make of the answer.
 */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { describe } from '../../src/kit/errors.ts'
import { exitCodeOf } from '../../src/restore/exit-codes.ts'
import { fetchFile } from '../../src/restore/fetch.ts'
import type { FetchRequest } from '../../src/restore/request.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { tempFolder } from '../support/temp.ts'

export interface Asked {
  readonly code: number
  /** What was served, why it is absent, or the error. */
  readonly said: string
  /** What lies at DEST. */
  readonly file: Buffer | null
}

/** How the question differs from the usual one, which is not asked twice. */
export type AskOptions = Partial<Omit<FetchRequest, 'archive' | 'name' | 'dest'>>

const usualRequest = {
  standby: false,
  tails: true,
  endAtHole: false,
  ignoreBacklog: false,
  retryForMs: 0,
  onRetry: () => undefined,
  onStuck: () => undefined,
}

export class DataFolder {
  readonly path: string
  readonly pgWal: string
  /** Where PostgreSQL wants files. */
  readonly dest: string

  private constructor(path: string) {
    this.path = path
    this.pgWal = join(path, 'pg_wal')
    this.dest = join(this.pgWal, 'RECOVERYXLOG')
  }

  /** Without `systemIdentifier` there is no pg_control: a folder that a restore has not filled yet. */
  static async make(t: TestContext, systemIdentifier?: bigint): Promise<DataFolder> {
    const folder = new DataFolder(await tempFolder(t))
    await mkdir(folder.pgWal)
    await mkdir(join(folder.path, 'global'))
    if (systemIdentifier !== undefined) {
      const control = Buffer.alloc(8192)
      control.writeBigUInt64LE(systemIdentifier)
      await writeFile(join(folder.path, 'global', 'pg_control'), control)
    }
    return folder
  }

  /** Puts a file into pg_wal. */
  async keep(name: string, bytes: Uint8Array): Promise<void> {
    await writeFile(join(this.pgWal, name), bytes)
  }

  /** Asks for a file, and makes sure that nothing but DEST is new in pg_wal, which is taken away again. */
  async ask(store: ObjectStore, name: string, options: AskOptions = {}): Promise<Asked> {
    const before = await readdir(this.pgWal)
    const { code, said } = await this.#fetch(store, name, options)
    const added = (await readdir(this.pgWal)).filter((one) => !before.includes(one))
    assert.deepEqual(added, code === 0 ? ['RECOVERYXLOG'] : [], `files in pg_wal after "${said}"`)
    const file = code === 0 ? await readFile(this.dest) : null
    await rm(this.dest, { force: true })
    return { code, said, file }
  }

  async #fetch(store: ObjectStore, name: string, options: AskOptions): Promise<{ code: number; said: string }> {
    const request = { ...usualRequest, archive: new Archive(store), name, dest: this.dest, ...options }
    try {
      const answer = await fetchFile(request, new AbortController().signal)
      return answer.answer === 'served' ? { code: 0, said: answer.what } : { code: 1, said: answer.why }
    } catch (error) {
      return { code: exitCodeOf(error), said: describe(error) }
    }
  }
}
