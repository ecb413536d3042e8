import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Collects the garbage of a thread: all of it, or (minor, in some 0.2 ms where the heap is small) what was made lately. V8
 * begins by itself when its own heap is full, and hardly counts what a library has allocated outside of it: of blocks of
 * 256 KiB, each behind an object of a few bytes, a hundred megabytes had gathered until then.
 */
export function garbageCollector(type: 'minor' | 'major'): () => void {
  // The only way to it that needs no option at the start of Node.js (doc/api/v8.md, `v8.setFlagsFromString`).
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') throw new Error('this Node.js has no gc()')
  return () => void collect({ type })
}

const mostUncollectedBytes = 8 * 1024 ** 2
let uncollectedBytes = 0
let collectYoung: (() => void) | null = null

/** Says that so many bytes, in memory of their own, are used up. Now and then it collects them, and what else is young. */
export function collectBehind(bytes: number): void {
  uncollectedBytes += bytes
  if (uncollectedBytes < mostUncollectedBytes) return
  uncollectedBytes = 0
  collectYoung ??= garbageCollector('minor')
  collectYoung()
}
