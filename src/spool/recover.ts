/**
 * What a start finds in the spool, and how far it may be trusted.
 *
 * How far a `.partial` is filled is written nowhere, so its WAL is read: up to the last record whose checksum is right.
 * A kill leaves everything that was written; a power cut leaves any part of what was not synced, with zeros between.
 * The walk begins in the newest whole segment where that is the neighbour, because the first record of a `.partial`
 * usually began there, and can be verified only from there. (The shipper leaves that neighbour in the spool for us.)
 *
 * Several `.partial` files in a row are normal: the next one is begun while the one before is still being synced. One
 * whose records are verified up to its end and past it is whole, and gets its final name here.
 */
import { open, type FileHandle, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../kit/durable-fs.ts'
import { WalferryError } from '../kit/errors.ts'
import { type Lsn, plus } from '../wal/lsn.ts'
import { longHeaderBytes, pageFault, readPageHeader } from '../wal/page.ts'
import { RecordWalker } from '../wal/record-walker.ts'
import {
  isSegmentName,
  isSegmentSize,
  parseSegmentName,
  type Segment,
  segmentName,
  segmentStart,
} from '../wal/segment.ts'
import { firstPageFault } from '../wal/segment-check.ts'
import { partialSuffix } from './segment-file.ts'
import type { Place } from './spool.ts'

export interface SpoolScan {
  /** Whose WAL it is; null if nothing in the spool says so, and then there is nothing in it. */
  readonly identity: { readonly systemIdentifier: bigint; readonly segmentBytes: number } | null
  /** Whole segments, oldest first. */
  readonly wholes: readonly Segment[]
  /**
   * The furthest place up to which the WAL is right. `proved` is false if the beginning of its segment could not be
   * verified: such bytes are neither shipped nor held against the server's, only received again.
   */
  readonly end: { readonly place: Place; readonly proved: boolean } | null
}

interface Found {
  readonly segment: Segment
  readonly partial: boolean
}

const readBytes = 1024 * 1024

/**
 * Looks through the spool, makes durable what is right, and gives whole segments their names. Touches nothing else.
 * Throws SPOOL_FAILED for a file that is no segment of this spool: somebody has to look.
 */
export async function recoverSpool(folder: string): Promise<SpoolScan> {
  const names = (await readdir(folder)).filter((name) => isSegmentName(name.replace(partialSuffix, ''))).sort()
  const identity = await readIdentity(folder, names)
  if (identity === null) return { identity, wholes: [], end: null }
  // A kill may have come between a whole segment's rename and its sync.
  await syncFolder(folder)
  const found: Found[] = []
  for (const name of names) {
    const bare = name.replace(partialSuffix, '')
    const partial = name !== bare
    // Beside a whole segment, a partial one of that name is an older copy.
    if (!(await checkFile(folder, name, identity)) || (partial && names.includes(bare))) continue
    found.push({ segment: parseSegmentName(bare, identity.segmentBytes), partial })
  }
  found.sort((a, b) => a.segment.timeline - b.segment.timeline || a.segment.segno - b.segment.segno)
  const wholes = found.filter((one) => !one.partial).map((one) => one.segment)
  const scan = { identity, wholes, end: endOf(wholes.at(-1), identity.segmentBytes) }
  const chain = openChain(found)
  return chain.length === 0 ? scan : await walkChain(folder, chain, scan, identity)
}

/** From the first file that begins as a segment does. Throws SPOOL_FAILED if none does, and not all are empty. */
async function readIdentity(folder: string, names: readonly string[]): Promise<SpoolScan['identity']> {
  let stranger: string | null = null
  for (const name of names) {
    const head = await readHead(join(folder, name))
    const header = readPageHeader(head, 0)
    const long = header?.long
    if (
      header !== null &&
      long &&
      isSegmentSize(long.segmentBytes) &&
      pageFault(header, { ...header, ...long }) === null
    ) {
      return { systemIdentifier: long.systemIdentifier, segmentBytes: long.segmentBytes }
    }
    if (!name.endsWith(partialSuffix) || head.some((byte) => byte !== 0)) stranger ??= name
  }
  if (stranger !== null) throw foreign(join(folder, stranger), 'does not begin as a segment does')
  return null
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(longHeaderBytes), 0, longHeaderBytes, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** False for a `.partial` that was created and never written to. */
async function checkFile(folder: string, name: string, identity: NonNullable<SpoolScan['identity']>): Promise<boolean> {
  const path = join(folder, name)
  const file = await open(path, 'r')
  let size: number
  try {
    size = (await file.stat()).size
  } finally {
    await file.close()
  }
  const partial = name.endsWith(partialSuffix)
  if (size !== identity.segmentBytes && !(partial && size === 0)) {
    throw foreign(path, `has ${size} bytes, where a segment has ${identity.segmentBytes}`)
  }
  const head = await readHead(path)
  if (partial && head.every((byte) => byte === 0)) return false
  const segment = parseSegmentName(name.replace(partialSuffix, ''), identity.segmentBytes)
  const fault = firstPageFault(head, { segment, ...identity })
  if (fault !== null) throw foreign(path, `is not the segment that its name says: ${fault}`)
  return true
}

function foreign(path: string, what: string): WalferryError {
  return new WalferryError('SPOOL_FAILED', `${path} ${what}`, {
    hint: 'Nothing was changed. Look where it comes from, and move it out of the spool.',
  })
}

/**
 * The open segments of the newest timeline to walk, each following the one before, led by the whole one before them
 * where it is there. What lies behind a gap does not count: it would hide what is missing.
 */
function openChain(found: readonly Found[]): Found[] {
  const timeline = found.at(-1)?.segment.timeline
  const ours = found.filter((one) => one.segment.timeline === timeline)
  const newest = ours.findLastIndex((one) => !one.partial)
  const chain: Found[] = []
  for (const one of ours.slice(Math.max(0, newest))) {
    const last = chain.at(-1)
    if (last !== undefined && last.segment.segno + 1 !== one.segment.segno) break
    chain.push(one)
  }
  return chain.some((one) => one.partial) ? chain : []
}

async function walkChain(
  folder: string,
  chain: readonly Found[],
  scan: SpoolScan,
  identity: NonNullable<SpoolScan['identity']>,
): Promise<SpoolScan> {
  const { segmentBytes } = identity
  const [head] = chain
  const walker = RecordWalker.ofSegment({ ...identity, segment: head?.segment ?? { timeline: 0, segno: 0 } })
  for (const one of chain) {
    await walkFile(folder, one, segmentBytes, walker)
    if (walker.stopped !== null) break
  }
  const wholes = [...scan.wholes]
  let end = scan.end
  for (const { segment, partial } of chain) {
    if (!partial) continue
    const start = segmentStart(segment.segno, segmentBytes)
    const validEnd = walker.validEnd !== null && walker.validEnd > start ? walker.validEnd : start
    const proved = isVerifiedFrom(walker, start)
    // A switch ends the records, not the bytes: what follows it can only come from the server again.
    const whole = proved && !walker.endsInSwitch && validEnd >= plus(start, segmentBytes)
    await syncFile(folder, segment, segmentBytes)
    end = { place: { timeline: segment.timeline, lsn: validEnd }, proved: proved || validEnd === start }
    if (!whole) break
    const name = join(folder, segmentName(segment, segmentBytes))
    await rename(name + partialSuffix, name)
    wholes.push(segment)
    end = endOf(segment, segmentBytes)
  }
  await syncFolder(folder)
  return { identity, wholes, end }
}

/** Every byte from a segment's start up to the walk's valid end belongs to a record that was verified. */
function isVerifiedFrom(walker: RecordWalker, start: Lsn): boolean {
  return walker.firstRecord !== null && walker.firstRecord <= plus(start, longHeaderBytes)
}

function endOf(whole: Segment | undefined, segmentBytes: number): SpoolScan['end'] {
  if (whole === undefined) return null
  const lsn = segmentStart(whole.segno + 1, segmentBytes)
  return { place: { timeline: whole.timeline, lsn }, proved: true }
}

async function walkFile(folder: string, one: Found, segmentBytes: number, walker: RecordWalker): Promise<void> {
  const name = segmentName(one.segment, segmentBytes) + (one.partial ? partialSuffix : '')
  const file = await open(join(folder, name), 'r')
  try {
    const buffer = Buffer.allocUnsafe(readBytes)
    for (let at = 0; at < segmentBytes && walker.stopped === null; ) {
      const { bytesRead } = await file.read(buffer, 0, readBytes, at)
      if (bytesRead === 0) break
      walker.push(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
  } finally {
    await file.close()
  }
}

/** What the walk read may only be in the page cache: it counts as synced from here on. */
async function syncFile(folder: string, segment: Segment, segmentBytes: number): Promise<void> {
  let file: FileHandle | null = null
  try {
    file = await open(join(folder, segmentName(segment, segmentBytes) + partialSuffix), 'r')
    await file.sync()
  } finally {
    await file?.close()
  }
}
