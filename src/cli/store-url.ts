/**
 * Where an archive lies, as people write it:
 *
 *     s3://bucket/prefix      file:///var/archive      /var/archive      ./archive
 */
import { fileURLToPath } from 'node:url'

export type StorePlace =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }

/**
 * Throws for anything else; an unknown scheme is no folder's name, nor is one without its slashes (`s3:bucket`), which is a
 * slip, and where it is none: `./s3:bucket`. S3 keys are no part of a URL that is shown around.
 */
export function parseStore(text: string): StorePlace {
  if (text === '') throw new Error('empty')
  const [, scheme, slashes] = /^([a-z][a-z0-9+.-]*):(\/\/)?/i.exec(text.toLowerCase()) ?? []
  if (scheme === undefined) return { kind: 'folder', path: text }
  if (slashes === undefined) throw new Error('not a store')
  if (scheme === 'file') return { kind: 'folder', path: fileURLToPath(text) }
  const match = /^s3:\/\/([^/@:?#]+)(?:\/(.*?))?\/*$/i.exec(text)
  if (match === null) throw new Error('not a store')
  return { kind: 's3', bucket: match[1] ?? '', prefix: match[2] ?? '' }
}
