/**
 * The compressions that an archive may use, and how a key tells which: by its end. Example: `...2A.lz4`.
 *
 * `none` has no extension. WAL-G up to 3.0.8 left the dot all the same (`...2A.`): such objects are read, never written.
 */

const extensions = { lz4: '.lz4', zst: '.zst', br: '.br', gz: '.gz', lzma: '.lzma', none: '' } as const

export type Codec = keyof typeof extensions
/** What `encode` can write. `zst` only on Node.js 22.15 or later. */
export type WritableCodec = 'lz4' | 'zst' | 'none'

/** What a key of this compression ends in, with the dot; empty for `none`. */
export function extensionOf(codec: Codec): string {
  return extensions[codec]
}

/** Reads what is left of a key behind the part that names its content. Null if it is no compression's. */
export function parseExtension(rest: string): Codec | null {
  switch (rest) {
    case '.lz4':
      return 'lz4'
    case '.zst':
      return 'zst'
    case '.br':
      return 'br'
    case '.gz':
      return 'gz'
    case '.lzma':
      return 'lzma'
    case '':
    case '.':
      return 'none'
    default:
      return null
  }
}

/** Every end under which one content may lie, the likeliest first. */
export const knownEnds: readonly string[] = [...Object.values(extensions), '.']

/** The compression that a key's end names; `none` for any other end. */
export function codecOfKey(key: string): Codec {
  return parseExtension(/\.[a-z0-9]+$/.exec(key)?.[0] ?? '') ?? 'none'
}
