/** Certificates of others, from PEM files that an option names. */
import { readFile } from 'node:fs/promises'
import { WalferryError } from '../kit/errors.ts'
import type { OptionName } from './options.ts'

/**
 * The file's text. TLS would pass over what it cannot read, and then trust nobody: that is told here, where the file has
 * a name. Throws BAD_INPUT, with `hint` for what should be in it.
 */
export async function readCertificates(option: OptionName, path: string, hint: string): Promise<string> {
  try {
    const pem = await readFile(path, 'utf8')
    const { X509Certificate } = await import('node:crypto')
    void new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new WalferryError('BAD_INPUT', `the file of ${option}, "${path}", could not be read as certificates`, {
      cause,
      hint,
    })
  }
}
