/**
 * The key that an archive is encrypted with: 32 bytes, which people write down as text, in one of the ways that WAL-G has
 * (its documentation, WALG_LIBSODIUM_KEY_TRANSFORM):
 *
 *     hex      3f6c...  64 digits, as `openssl rand -hex 32` makes them
 *     base64   P2w...=  44 characters, as `openssl rand -base64 32` makes them
 *     none     the characters themselves: at least 25, padded with zeros or cut to 32
 *
 * No message, log line or file ever holds the key or a part of it.
 */

export const keyTransforms = ['hex', 'base64', 'none'] as const
export type KeyTransform = (typeof keyTransforms)[number]

export const keyBytes = 32
const fewestCharacters = 25

export class EncryptionKey {
  readonly #bytes: Uint8Array

  /** `bytes` are 32. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== keyBytes) throw new Error(`a key has ${keyBytes} bytes, not ${bytes.length}`)
    this.#bytes = bytes
  }

  /** For those that encrypt and decrypt. */
  bytes(): Uint8Array {
    return this.#bytes
  }

  /**
   * 16 hexadecimal digits that tell two keys apart and give none away: who has them can try a guess, and can do that with
   * every object, too.
   */
  get fingerprint(): string {
    // Not imported: `fetch` starts with every segment, mostly of an archive without a key, and would load it in vain.
    const { createHmac } = process.getBuiltinModule('node:crypto')
    const digest = createHmac('sha256', this.#bytes).update('walferry: the key of an archive').digest('hex')
    return digest.slice(0, 16)
  }
}

/** Throws an Error that says what the text is not, without the text. */
export function parseKey(text: Uint8Array, transform: KeyTransform): EncryptionKey {
  return new EncryptionKey(keyBytesOf(Buffer.from(text), transform))
}

function keyBytesOf(text: Buffer, transform: KeyTransform): Uint8Array {
  switch (transform) {
    case 'hex': {
      if (!isHex(text)) throw new Error(`the key is not ${2 * keyBytes} hexadecimal digits`)
      return Buffer.from(text.toString('latin1'), 'hex')
    }
    case 'base64': {
      if (!isBase64(text)) throw new Error(`the key is not ${keyBytes} bytes in base64, which are 44 characters`)
      return Buffer.from(text.toString('latin1'), 'base64')
    }
    case 'none': {
      if (text.length < fewestCharacters) throw new Error(`the key has fewer than ${fewestCharacters} characters`)
      const padded = Buffer.alloc(keyBytes)
      text.copy(padded)
      return padded
    }
  }
}

/**
 * How to read a key of which nobody has said: `none`, as WAL-G does. Null where the text reads like 32 random bytes in
 * another transform: cut to 32 characters, it would be half the key that its maker meant.
 */
export function unsaidTransform(text: Uint8Array): KeyTransform | null {
  return isHex(text) || isBase64(text) ? null : 'none'
}

function isHex(text: Uint8Array): boolean {
  return /^[0-9a-fA-F]{64}$/.test(Buffer.from(text).toString('latin1'))
}

function isBase64(text: Uint8Array): boolean {
  return /^[A-Za-z0-9+/]{43}=$/.test(Buffer.from(text).toString('latin1'))
}
