/** The server's side of a push: its files, read and judged, and whose they are. Nothing here writes. */
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileAt, piecesOf, type ReadableAt } from '../archive/bytes-at.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { type SegmentState, SegmentWalk } from '../wal/complete-segment.ts'
import { longHeaderBytes, readPageHeader } from '../wal/page.ts'
import { isSegmentName, isSegmentSize, parseSegmentName, type Segment } from '../wal/segment.ts'
import { firstPageFault } from '../wal/segment-check.ts'

/** A file of pg_wal that holds a segment, or the beginning of one. */
export interface SegmentFile {
  readonly segment: Segment
  readonly cluster: ClusterIdentity
  readonly state: SegmentState
}

const largestNoteBytes = 1024 * 1024 // of a history file that is 10,000 timelines

/**
 * Reads a segment, or a `.partial` of one. Throws WAL_DAMAGED unless it has the size, and begins with the page, of the
 * segment `name`.
 */
export async function readSegmentFile(path: string, name: string): Promise<SegmentFile> {
  return await withFile(path, async (content, bytes) => {
    const cluster = await clusterOf(content, bytes)
    if (cluster === null) throw damaged(path, 'it does not begin as a segment does')
    const { segmentBytes } = cluster
    if (bytes !== segmentBytes) throw damaged(path, `it has ${bytes} bytes, and says that it has ${segmentBytes}`)
    const segment = parseSegmentName(name, segmentBytes)
    const systemIdentifier = BigInt(cluster.systemIdentifier)
    const expected = { segment, segmentBytes, systemIdentifier }
    const fault = firstPageFault(await headOf(content), expected)
    if (fault !== null) throw damaged(path, fault)
    const walk = new SegmentWalk(expected)
    for await (const pages of piecesOf(content, 0, bytes)) walk.push(pages)
    return { segment, cluster, state: walk.end() }
  })
}

/** Whether a file lies at `path`, and is of that segment. Of its pages only the first one is looked at. */
export async function isSegmentThere(path: string, segment: Segment, cluster: ClusterIdentity): Promise<boolean> {
  if (!(await isThere(path))) return false
  const { segmentBytes } = cluster
  const systemIdentifier = BigInt(cluster.systemIdentifier)
  return await withFile(path, async (content, bytes) => {
    if (bytes !== segmentBytes) return false
    return firstPageFault(await headOf(content), { segment, segmentBytes, systemIdentifier }) === null
  })
}

/** Throws WAL_DAMAGED for what cannot be a history file, or the note of a backup. */
export async function readNote(path: string): Promise<Buffer> {
  const bytes = await asInput(path, () => readFile(path))
  if (bytes.length > 0 && bytes.length <= largestNoteBytes) return bytes
  throw damaged(path, `it has ${bytes.length} bytes`)
}

/** Whose files lie in a folder: the first segment in it says so, null if there is none. */
export async function clusterBeside(path: string): Promise<ClusterIdentity | null> {
  const folder = dirname(path)
  for (const name of (await asInput(folder, () => readdir(folder))).filter(isSegmentName)) {
    // A file that was made in advance holds nothing yet.
    const cluster = await withFile(join(folder, name), clusterOf)
    if (cluster !== null) return cluster
  }
  return null
}

/** Calls `use` with a file's content and its size. Throws BAD_INPUT if it cannot be read. */
export async function withFile<T>(path: string, use: (content: ReadableAt, bytes: number) => Promise<T>): Promise<T> {
  const file = await openFile(path)
  try {
    const { size } = await asInput(path, () => file.stat())
    return await use(fileAt(file, path), size)
  } finally {
    await file.close()
  }
}

export async function openFile(path: string): Promise<FileHandle> {
  return await asInput(path, () => open(path, 'r'))
}

async function clusterOf(content: ReadableAt, bytes: number): Promise<ClusterIdentity | null> {
  if (bytes < longHeaderBytes) return null
  const long = readPageHeader(await headOf(content), 0)?.long
  if (!long || !isSegmentSize(long.segmentBytes)) return null
  return { systemIdentifier: String(long.systemIdentifier), segmentBytes: long.segmentBytes }
}

async function headOf(content: ReadableAt): Promise<Buffer> {
  const head = Buffer.alloc(longHeaderBytes)
  await content.read(head, 0)
  return head
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

async function asInput<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    throw new WalferryError('BAD_INPUT', `${path} cannot be read`, {
      cause,
      hint: "archive_command gives the file's path as %p, relative to the data directory.",
    })
  }
}

/** `why` is a clause of its own, with a subject. */
export function damaged(path: string, why: string, cause?: unknown): WalferryError {
  return new WalferryError('WAL_DAMAGED', `${path} cannot be archived: ${why}`, {
    hint: 'Nothing was stored under its name, and PostgreSQL keeps the file. Look at the disk, and take a new base backup.',
    fields: { path },
    ...(cause === undefined ? {} : { cause }),
  })
}
