/**
 * The grammar of keys (object-store.ts), checked by every store before a key becomes a path or a part of a URL.
 *
 * Keys are ASCII, so the order of JavaScript's strings is the order of the keys' bytes.
 */
import { WalferryError } from '../kit/errors.ts'

/** Where a directory keeps the files that it is still writing. No key begins with it, in any store. */
export const temporaryFolder = '.walferry-tmp'

const keyForm = /^(?!\.walferry-tmp(?:\/|$))(?:(?!\.\.?\/)[A-Za-z0-9._-]+\/)*(?!\.\.?$)[A-Za-z0-9._-]+$/
// The last part of a prefix may be any beginning of a part, or empty.
const prefixForm = /^(?:(?!\.\.?\/)[A-Za-z0-9._-]+\/)*[A-Za-z0-9._-]*$/

/** True for what may be a key. */
export function isKey(key: string): boolean {
  return keyForm.test(key)
}

/** Throws BAD_INPUT for what cannot be a key. */
export function checkKey(key: string): void {
  if (isKey(key)) return
  throw new WalferryError('BAD_INPUT', `"${key}" cannot be a key of the store`, {
    hint: 'A key has parts of letters, digits and "._-", joined by single slashes; no part is "." or "..".',
    fields: { key },
  })
}

/** Throws BAD_INPUT for what no key can begin with. */
export function checkPrefix(prefix: string): void {
  if (prefixForm.test(prefix)) return
  throw new WalferryError('BAD_INPUT', `"${prefix}" cannot be the beginning of a key of the store`, {
    fields: { prefix },
  })
}
