/**
 * Says where a stream began that passed over WAL: an empty file beside the segments.
 *
 *     000000010000000000000005.partial
 *     000000010000000000000009.begin
 *     000000010000000000000009.partial
 *
 * The two open segments alone may mean two things. Either the stream left the first one, because the WAL behind it was
 * lost or lies in the archive: then both are what they seem. Or a power cut took what lay between them, which was not
 * synced yet: then nothing behind the first one may count, because the server still has to send what is missing.
 *
 * The mark is durable before the first byte of its stream is received, and there is at most one: a stream that begins
 * elsewhere takes it away.
 */
import { open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../kit/durable-fs.ts'
import { isSegmentName, parseSegmentName, type Segment, segmentName } from '../wal/segment.ts'
import { partialSuffix } from './segment-file.ts'

const beginSuffix = '.begin'

/** Marks where a stream begins if an open segment of its timeline stays behind, and takes other marks away. */
export async function markBegin(folder: string, begin: Segment, segmentBytes: number): Promise<void> {
  const names = await readdir(folder)
  const first = segmentName(begin, segmentBytes)
  const mark = first + beginSuffix
  const isNeeded = names.some((name) => isOpenBefore(name, first))
  const others = names.filter((name) => isMark(name) && !(isNeeded && name === mark))
  const isNew = isNeeded && !names.includes(mark)
  if (others.length === 0 && !isNew) return
  for (const name of others) await unlink(join(folder, name))
  if (isNew) await (await open(join(folder, mark), 'w', 0o600)).close()
  // A crash before this leaves any of the marks: each of them was right when it was made, or is again when we are back.
  await syncFolder(folder)
}

/** The segment with which the marked stream began, on the newest of these timelines; null where there is no mark. */
export function findBegin(names: readonly string[], timeline: number, segmentBytes: number): Segment | null {
  const marked = names
    .filter(isMark)
    .map((name) => parseSegmentName(name.slice(0, -beginSuffix.length), segmentBytes))
    .filter((segment) => segment.timeline === timeline)
  return marked.toSorted((a, b) => b.segno - a.segno)[0] ?? null
}

function isMark(name: string): boolean {
  return name.endsWith(beginSuffix) && isSegmentName(name.slice(0, -beginSuffix.length))
}

/** Names of one timeline are ordered as their segments are. */
function isOpenBefore(name: string, first: string): boolean {
  const bare = name.replace(partialSuffix, '')
  return bare !== name && isSegmentName(bare) && bare.slice(0, 8) === first.slice(0, 8) && bare < first
}
