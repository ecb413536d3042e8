/**
 * Random numbers that can be had again: the seed is printed, and WALFERRY_TEST_SEED replays it.
 *
 *     WALFERRY_TEST_SEED=12345 node --test dist/test/pg/framing.test.js
 */
import type { TestContext } from 'node:test'

export interface Random {
  /** A whole number from 0 to `below - 1`. */
  below(below: number): number
  /** One of the items. Throws for an empty list. */
  pick<T>(items: readonly T[]): T
  bytes(length: number): Buffer
}

export function seededRandom(t: TestContext): Random {
  const given = process.env['WALFERRY_TEST_SEED']
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given)
  t.diagnostic(`WALFERRY_TEST_SEED=${seed}`)
  const next = mulberry32(seed)
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    pick: (items) => {
      const item = items[below(items.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
    bytes: (length) => Buffer.from(Array.from({ length }, () => below(256))),
  }
}

/** Tommy Ettinger's generator of 32 bits of state: in [0, 1), the same on every platform. */
function mulberry32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
