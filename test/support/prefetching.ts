/** What runs in the background of a recovery that fetches ahead, and what lies ready for it. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '../../src/kit/abort.ts'
import { isSegmentName } from '../../src/wal/segment.ts'
import { deadline } from './postgres.ts'

export const folderName = '.walferry-prefetch'

/** The processes that fetch ahead from a store; Node.js only, not the shell above it. */
export async function backgroundOf(store: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (words[1]?.endsWith('/prefetch-main.js') === true && words.includes(store)) found.push(Number(pid))
  }
  return found
}

/** The segments that lie ready, in order. */
export async function readySegments(pgWal: string): Promise<string[]> {
  const names = await readdir(join(pgWal, folderName)).catch(() => [])
  return names.filter(isSegmentName).toSorted()
}

/** Resolves once nothing runs and no file is left. */
export async function waitUntilGone(pgWal: string, store: string): Promise<void> {
  await until(async () => {
    const left = (await readdir(pgWal)).filter((name) => name.startsWith(folderName))
    return left.length === 0 && (await backgroundOf(store)).length === 0
  })
}

export async function until(isReached: () => Promise<boolean>): Promise<void> {
  for (const signal = deadline(); !(await isReached()); ) await sleep(10, signal)
}
