/** The room on the spool's disk, and what was set aside there. A disk that hangs keeps one look waiting, and nobody who asks. */
import { statfs } from 'node:fs/promises'
import { sleep } from '../kit/abort.ts'
import { countSetAside } from '../spool/set-aside.ts'
import type { DiskSpace } from './known.ts'

const patienceMs = 500

export class DiskWatch {
  readonly #look: () => Promise<DiskSpace>
  #looking: Promise<DiskSpace | null> | null = null
  /** The look that is under way has used up all patience. */
  #isLate = false

  constructor(look: () => Promise<DiskSpace>) {
    this.#look = look
  }

  /** null where it is not known, or not soon. Never rejects. */
  async space(): Promise<DiskSpace | null> {
    this.#looking ??= this.#look()
      .catch(() => null)
      .finally(() => {
        this.#looking = null
        this.#isLate = false
      })
    if (this.#isLate) return null
    const enough = new AbortController()
    const late = sleep(patienceMs, enough.signal).then(
      () => {
        this.#isLate = this.#looking !== null
        return null
      },
      () => null,
    )
    try {
      return await Promise.race([this.#looking, late])
    } finally {
      enough.abort()
    }
  }
}

/** As statfs says it of the file system on which the spool lies. Rejects where the folder cannot be read. */
export async function diskSpaceOf(folder: string): Promise<DiskSpace> {
  const { bsize, bavail, blocks } = await statfs(folder)
  return { freeBytes: bavail * bsize, bytes: blocks * bsize, setAsideFiles: await countSetAside(folder) }
}
