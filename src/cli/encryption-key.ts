/**
 * The key of an encrypted archive: a file that an option names, else what WAL-G's variables say. WALG_LIBSODIUM_KEY, as
 * in WAL-G, is the key itself and goes before the file of WALG_LIBSODIUM_KEY_PATH. No option takes a key itself: every user
 * of the machine could read it in the process list.
 */
import { open } from 'node:fs/promises'
import { type EncryptionKey, parseKey, unsaidTransform } from '../archive/encryption/key.ts'
import { describe, WalferryError } from '../kit/errors.ts'
import type { Config } from './options.ts'
import type { Variables } from './values.ts'

/** What was written down, and where: for messages. */
interface Written {
  readonly text: Uint8Array
  readonly from: string
}

const inline = 'WALG_LIBSODIUM_KEY'
const path = 'WALG_LIBSODIUM_KEY_PATH'
const transformVariable = 'WALG_LIBSODIUM_KEY_TRANSFORM'
const howToMake =
  'Make one with: (umask 077; openssl rand -hex 32 > FILE), and name it with --encryption-key-file FILE --encryption-key-transform hex.'

/** Null: no key was given. Throws BAD_INPUT for a key that cannot be used, without a word of it. */
export async function readEncryptionKey(
  config: Partial<Config<'encryption-key-file' | 'encryption-key-transform'>>,
  env: Variables,
): Promise<EncryptionKey | null> {
  const written = await findKey(config['encryption-key-file'], env)
  if (written === null) {
    if (config['encryption-key-transform'] !== undefined) throw missing()
    return null
  }
  const { text, from } = written
  const transform = config['encryption-key-transform'] ?? unsaidTransform(text)
  if (transform === null) {
    throw refused(from, 'the key may be meant as hex or base64, or as the characters themselves', {
      hint: 'Say which: --encryption-key-transform hex, base64, or none. (WAL-G takes none, and half of the key, where it is not told.)',
    })
  }
  try {
    return parseKey(text, transform)
  } catch (error) {
    throw refused(from, `${describe(error)} (read as ${transform})`, {
      hint: `--encryption-key-transform says how the key is written: hex, base64 or none. ${howToMake}`,
    })
  }
}

/** Somebody meant to encrypt: to go on without would put what is secret into the store. */
function missing(): WalferryError {
  return refused('--encryption-key-transform', 'it says how a key is written, and no key was given', {
    hint: `Name its file with --encryption-key-file, or unset ${transformVariable}.`,
  })
}

async function findKey(file: string | undefined, env: Variables): Promise<Written | null> {
  if (file !== undefined) return await readKeyFile(file, '--encryption-key-file')
  const text = env[inline] ?? ''
  if (text !== '') return { text: Buffer.from(text), from: inline }
  const otherFile = env[path] ?? ''
  return otherFile === '' ? null : await readKeyFile(otherFile, path)
}

/** As WAL-G: without the white space around it. */
async function readKeyFile(name: string, option: string): Promise<Written> {
  if (unsaidTransform(Buffer.from(name)) === null) {
    throw refused(option, 'this is the name of no file, but reads like a key itself', { hint: howToMake })
  }
  const from = `${option}: ${name}`
  let text: Buffer
  let mode: number
  try {
    const file = await open(name)
    try {
      mode = (await file.stat()).mode
      text = await file.readFile()
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw refused(from, 'the file cannot be read', { cause, hint: howToMake })
  }
  // A group may be needed to share it with the server's user; everybody is never meant.
  if (process.platform !== 'win32' && (mode & 0o007) !== 0) {
    throw refused(from, 'every user of the machine may access the file', {
      hint: `Let its owner alone: chmod 600 ${name}`,
    })
  }
  return { text: trimmed(text), from }
}

function trimmed(text: Buffer): Buffer {
  return Buffer.from(text.toString('latin1').replace(/^[\t-\r ]+|[\t-\r ]+$/g, ''), 'latin1')
}

function refused(
  from: string,
  what: string,
  details: { readonly hint: string; readonly cause?: unknown },
): WalferryError {
  return new WalferryError('BAD_INPUT', `${from}: ${what}`, details)
}
