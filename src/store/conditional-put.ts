/**
 * Whether a store keeps the second of two writers of one key away (`If-None-Match: *`). Not every S3 service does.
 *
 *     honoured   a key that is taken is answered with 412
 *     refused    the header is answered with 501
 *     ignored    the second writer wins, and nobody is told
 *
 * Without it a store can only look before it writes: that keeps one writer from overwriting what is there, but does not
 * keep two from meeting.
 */
import { isError } from '../kit/errors.ts'
import type { ObjectStore } from './object-store.ts'

export type ConditionalPut = 'honoured' | 'refused' | 'ignored'

/** An abort is no reason to leave something behind, nor to wait for long. */
const tidyMs = 5000

/**
 * Finds out by putting `key` twice. Whatever was there before is deleted, and so is what was put, also after an abort; a
 * crash in between leaves an object of a few bytes, which the next probe of that key deletes.
 */
export async function probeConditionalPut(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<ConditionalPut> {
  await store.deleteMany([key], { signal })
  try {
    await store.put(key, Buffer.from('first'), { ifAbsent: true, signal })
    await store.put(key, Buffer.from('second'), { ifAbsent: true, signal })
    return 'ignored'
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
    // A store that looks before it writes says KEY_EXISTS, too.
    return store.conditionalPut === 'unknown' ? 'honoured' : store.conditionalPut
  } finally {
    // Where this fails, the probe's own error or finding is what matters.
    await store.deleteMany([key], { signal: AbortSignal.timeout(tidyMs) }).catch(() => undefined)
  }
}
