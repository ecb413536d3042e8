/** When each file that lies in the spool was last written to, by our own clock: all that a start knows of its WAL's age. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Lsn } from '../wal/lsn.ts'
import { isSegmentName, parseSegmentName, segmentStart } from '../wal/segment.ts'
import { partialSuffix } from './segment-file.ts'
import { spoolError } from './spool-error.ts'

export interface LastWrite {
  /** Where the file's segment begins. */
  readonly start: Lsn
  /** Milliseconds since 1970. */
  readonly atMs: number
}

/** By timeline and position. Throws SPOOL_FAILED. */
export async function lastWrites(folder: string, segmentBytes: number): Promise<LastWrite[]> {
  try {
    const writes: LastWrite[] = []
    for (const name of (await readdir(folder)).toSorted()) {
      const bare = name.replace(partialSuffix, '')
      if (!isSegmentName(bare)) continue
      const { mtimeMs } = await stat(join(folder, name))
      writes.push({ start: segmentStart(parseSegmentName(bare, segmentBytes).segno, segmentBytes), atMs: mtimeMs })
    }
    return writes
  } catch (error) {
    throw spoolError(error, `read the spool ${folder}`)
  }
}
