/** The WAL of a line as one stream of bytes, whichever timelines and objects it lies in. */
import { isError, WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import { bytesBetween, earlierOf, formatLsn, type Lsn, plus } from '../wal/lsn.ts'
import { segmentName, segmentStart, segnoBefore, segnoOf } from '../wal/segment.ts'
import type { Archive } from './archive.ts'
import { segmentKey } from './keys.ts'
import type { Line } from './line.ts'
import { planTail } from './tail.ts'

/**
 * The bytes from a segment's begin up to `end`. Rejects ARCHIVE_HOLE where they are not there, and KEY_MISSING where a
 * chunk went while it was read, because it became part of a larger one: then begin again.
 */
export async function* readWal(
  archive: Archive,
  line: Line,
  fromSegno: number,
  end: Lsn,
  options: CallOptions,
): AsyncGenerator<Uint8Array, void> {
  const { segmentBytes } = line
  for (let segno = fromSegno; segno <= segnoBefore(end, segmentBytes); segno++) {
    const start = segmentStart(segno, segmentBytes)
    const bytes = bytesBetween(start, earlierOf(end, plus(start, segmentBytes)))
    yield* cut(await openSegment(archive, line, segno, bytes, options), bytes)
  }
}

/** From the newest timeline that has so many bytes of it, as the server looks for it, too. */
async function openSegment(
  archive: Archive,
  line: Line,
  segno: number,
  bytes: number,
  options: CallOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const { segmentBytes } = line
  for (const timeline of timelinesFor(line, segno)) {
    const name = segmentName({ timeline, segno }, segmentBytes)
    const whole = await openWhole(archive, name, segmentBytes, options)
    if (whole !== null) return whole
    const plan = planTail(await archive.listChunks(name, options), segmentBytes)
    if (plan.bytes >= bytes) return readTail(archive, plan.run, options)
  }
  const name = segmentName({ timeline: line.timeline, segno }, segmentBytes)
  const end = formatLsn(plus(segmentStart(segno, segmentBytes), bytes))
  throw new WalferryError('ARCHIVE_HOLE', `the archive lacks ${name} up to ${end}, which it had a moment ago`, {
    fields: { segment: name },
    retryable: true,
    hint: 'Try again: what was there may have been replaced meanwhile.',
  })
}

/** The timelines of the line that have the segment, the newest first. */
function timelinesFor({ history, segmentBytes }: Line, segno: number): number[] {
  const found: number[] = []
  let begin = 0
  for (const { timeline, switchPoint } of history.ancestors) {
    if (begin <= segno) found.push(timeline)
    begin = segnoOf(switchPoint, segmentBytes)
  }
  if (begin <= segno) found.push(history.timeline)
  return found.toReversed()
}

/** Null if it is not there as one object. */
async function openWhole(
  archive: Archive,
  name: string,
  segmentBytes: number,
  options: CallOptions,
): Promise<AsyncIterable<Uint8Array> | null> {
  try {
    return await archive.readObject(segmentKey(name, 'lz4'), segmentBytes, options)
  } catch (error) {
    if (!isError(error, 'KEY_MISSING')) throw error
  }
  const [other] = await archive.findSegment(name, options)
  return other === undefined ? null : await archive.readObject(other.key, segmentBytes, options)
}

async function* readTail(
  archive: Archive,
  run: ReturnType<typeof planTail>['run'],
  options: CallOptions,
): AsyncGenerator<Uint8Array, void> {
  for (const { chunk, from } of run) {
    let at = chunk.start
    for await (const piece of await archive.readObject(chunk.key, chunk.end - chunk.start, options)) {
      if (at + piece.length > from) yield piece.subarray(Math.max(0, from - at))
      at += piece.length
    }
  }
}

async function* cut(source: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array, void> {
  let left = bytes
  for await (const piece of source) {
    yield piece.subarray(0, left)
    left -= piece.length
    if (left <= 0) return
  }
}
