/**
 * Whether a base backup is kept for good. WAL-G writes it into the sentinel and into metadata.json, and its
 * `backup-mark` changes metadata.json alone: a sentinel that was written again would be the newest, and so LATEST.
 * What metadata.json says counts, then, and the sentinel only where there is none.
 */
import { parse, stringify } from 'lossless-json'
import * as v from 'valibot'
import { isError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { metadataKey } from './backup-keys.ts'
import type { Backup } from './backups.ts'
import { damaged } from './damaged.ts'
import { formatMetadata } from './sentinel.ts'

const largestMetadataBytes = 1024 * 1024
const schema = v.looseObject({ is_permanent: v.nullish(v.boolean()) })

/** Rejects ARCHIVE_DAMAGED if metadata.json cannot be read. */
export async function isPermanent(store: ObjectStore, backup: Backup, options: CallOptions): Promise<boolean> {
  const metadata = await readMetadata(store, backup, options)
  return metadata?.isPermanent ?? backup.isPermanent
}

/** What else metadata.json holds stays as it is, numbers above 2^53 included. Resolves once it is durable. */
export async function setPermanent(
  store: ObjectStore,
  backup: Backup,
  permanent: boolean,
  options: CallOptions,
): Promise<void> {
  const metadata = await readMetadata(store, backup, options)
  const text =
    metadata === null
      ? formatMetadata({ ...backup, isPermanent: permanent })
      : stringify({ ...metadata.fields, is_permanent: permanent })
  await store.put(metadataKey(backup.name), Buffer.from(text ?? ''), { ...options, ifAbsent: false })
}

interface Metadata {
  readonly isPermanent: boolean | null
  /** All of them in their order, the numbers as they are written. */
  readonly fields: object
}

/** Null if there is none, as of old backups. */
async function readMetadata(store: ObjectStore, { name }: Backup, options: CallOptions): Promise<Metadata | null> {
  const key = metadataKey(name)
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of await store.get(key, options)) {
      bytes += part.length
      if (bytes > largestMetadataBytes) throw damaged(key, `holds more than ${largestMetadataBytes} bytes`)
      parts.push(part)
    }
  } catch (error) {
    if (isError(error, 'KEY_MISSING')) return null
    throw error
  }
  const fields = parseJson(key, Buffer.concat(parts).toString('utf8'))
  if (!v.is(schema, fields)) throw damaged(key, 'is not the metadata of a base backup')
  return { isPermanent: fields.is_permanent ?? null, fields }
}

function parseJson(key: string, text: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw damaged(key, 'is no JSON', error)
  }
}
