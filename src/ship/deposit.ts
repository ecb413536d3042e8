/** Stores one content under one name, once: "the same" is about plain bytes, under whichever compression. */
import type { Archive } from '../archive/archive.ts'
import { piecesOf, type ReadableAt } from '../archive/bytes-at.ts'
import { extensionOf, type WritableCodec } from '../archive/codec-name.ts'
import { isError } from '../kit/errors.ts'

export interface Content {
  /** Its key, without the extension that names a compression. */
  readonly name: string
  readonly plain: ReadableAt
  readonly bytes: number
  readonly codec: WritableCodec
}

export interface Deposit {
  /** `there`: the archive had it already. `other`: it has other content under that name, and keeps it. */
  readonly outcome: 'stored' | 'there' | 'other'
  readonly key: string
}

/** What the archive has under that name; null if nothing. */
export async function lookFor(archive: Archive, content: Content, signal: AbortSignal): Promise<Deposit | null> {
  const found: Deposit[] = []
  for (const { key } of await archive.findContent(content.name, { signal })) {
    found.push(await compare(archive, key, content, signal))
  }
  return found.find((one) => one.outcome === 'other') ?? found[0] ?? null
}

/** Resolves once the content is durable, or other content was found in its place. */
export async function deposit(archive: Archive, content: Content, signal: AbortSignal): Promise<Deposit> {
  const known = await lookFor(archive, content, signal)
  if (known !== null) return known
  const { plain, bytes, codec } = content
  const key = content.name + extensionOf(codec)
  try {
    await archive.store.put(key, archive.encode(codec, piecesOf(plain, 0, bytes)), { ifAbsent: true, signal })
    return { outcome: 'stored', key }
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
    // Ours, where an answer was lost or another one pushes the same file; or somebody else's.
    return await compare(archive, key, content, signal)
  }
}

async function compare(archive: Archive, key: string, content: Content, signal: AbortSignal): Promise<Deposit> {
  const same = await archive.sameContent(key, content.plain, content.bytes, { signal })
  return { outcome: same ? 'there' : 'other', key }
}
