/**
 * Telling what is wrong with a key from an object's first bytes. An encrypted object begins with 24 random bytes; what is
 * only compressed begins with the magic number of its compression (none has no such, and neither has br).
 */
import { WalferryError } from '../../kit/errors.ts'
import { type Codec, codecOfKey } from '../codec-name.ts'
import { isSkippable } from '../codecs/lz4-frame.ts'
import { headerBytes } from './sodium.ts'

const magicBytes = 4

/** Null where a beginning says nothing. */
const magics: Partial<Record<Codec, string>> = { lz4: '04224d18', zst: '28b52ffd', gz: '1f8b08' }

/**
 * The object, unless it is encrypted: then ENCRYPTION_KEY. That is when its first bytes look random, are no magic number,
 * and not even nearly its own. A flipped byte among them, zeros, or the page of a proxy are for the decompression to tell.
 */
export async function* unlessEncrypted(
  source: AsyncIterable<Uint8Array>,
  key: string,
): AsyncGenerator<Uint8Array, void> {
  let head: Uint8Array | null = new Uint8Array(0)
  for await (const piece of source) {
    if (head === null) {
      yield piece
      continue
    }
    head = Buffer.concat([head, piece])
    if (head.length < headerBytes) continue
    if (!isNearMagic(key, head) && looksRandom(head.subarray(0, headerBytes))) throw keyMissing(key)
    yield head
    head = null
  }
  if (head !== null) yield head
}

function isNearMagic(key: string, head: Uint8Array): boolean {
  const magic = magicOf(key)
  if (magic === null || isPlain(key, head) || isOtherCompression(head)) return true
  return magic.filter((byte, at) => byte !== head[at]).length <= 1
}

function isOtherCompression(head: Uint8Array): boolean {
  return Object.values(magics).some(
    (magic) => Buffer.from(head.subarray(0, magic.length / 2)).toString('hex') === magic,
  )
}

/** No text, and not mostly zeros: 24 random bytes are either less than once in a million times. */
function looksRandom(header: Uint8Array): boolean {
  return header.some((byte) => byte >= 0x80) && new Set(header).size >= 16
}

/** Whether an object begins as one that is compressed, and not encrypted. */
function isPlain(key: string, head: Uint8Array): boolean {
  const magic = magicOf(key)
  if (magic === null || head.length < magicBytes) return false
  if (magic.every((byte, at) => byte === head[at])) return true
  return magic.length === magicBytes && isSkippable(Buffer.from(head).readUInt32LE())
}

function magicOf(key: string): Buffer | null {
  const magic = magics[codecOfKey(key)]
  return magic === undefined ? null : Buffer.from(magic, 'hex')
}

function keyMissing(key: string): WalferryError {
  return new WalferryError(
    'ENCRYPTION_KEY',
    `${key} is encrypted (or its beginning is damaged), and there is no key to read it with`,
    {
      hint:
        'Give the key that it was written with: --encryption-key-file, or the variable WALG_LIBSODIUM_KEY. (What WAL-G has encrypted ' +
        'with PGP cannot be read here. If nothing in the archive is encrypted, the beginning of the object is damaged.)',
      fields: { key },
    },
  )
}

/** For an object whose first chunk cannot be decrypted; `head` is how it begins. */
export function notOfThisKey(key: string, head: Uint8Array): WalferryError {
  const fields = { key }
  if (isPlain(key, head)) {
    return new WalferryError('ENCRYPTION_KEY', `${key} is not encrypted, and a key was given`, {
      hint:
        'With a key only what is encrypted is read: whoever can write to the store could put anything else there. If the object ' +
        'is from before the encryption, read it without the key; an encrypted archive begins anew, under another prefix.',
      fields,
    })
  }
  return new WalferryError('ENCRYPTION_KEY', `${key} cannot be decrypted with the key that was given`, {
    hint:
      'It was written with another key, or without one; or its beginning is damaged, if other objects can be read. ' +
      'The key has to be read as it was when it was written: see --encryption-key-transform.',
    fields,
  })
}
