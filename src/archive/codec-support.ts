/** Which compressions cannot be had, told before anything is begun. */
import { WalferryError } from '../kit/errors.ts'
import { codecOfKey, type WritableCodec } from './codec-name.ts'

/** Throws BAD_INPUT if this Node.js cannot write `codec`. To be called at the start: not with the first segment. */
export async function refuseUnwritable(codec: WritableCodec): Promise<void> {
  if (codec === 'zst') (await import('./codecs/zst-encode.ts')).requireZstd()
}

/** Throws BAD_INPUT if what lies under `key` cannot be decompressed. To be called before an object is opened. */
export function refuseUnreadable(key: string): void {
  if (codecOfKey(key) === 'lzma') throw unreadable(key)
}

export function unreadable(key: string): WalferryError {
  return new WalferryError('BAD_INPUT', `${key} is compressed with LZMA, which this version cannot read`, {
    hint: 'Read it with wal-g, or store it again as lz4.',
    fields: { key },
  })
}
