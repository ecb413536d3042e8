/** What a service that keeps objects encrypted is asked for, as S3 and its users write it. */

/** Encryption by the service itself, with its own keys or those of its key management. */
export interface Encryption {
  readonly algorithm: 'AES256' | 'aws:kms'
  /** Id, alias or ARN of a key. Default: the account's key for S3. */
  readonly keyId?: string
}

/** `AES256`, `aws:kms`, or `aws:kms:KEY`, where KEY may be an ARN. Throws for anything else. */
export function parseEncryption(text: string): Encryption {
  if (text === 'AES256' || text === 'aws:kms') return { algorithm: text }
  const keyId = /^aws:kms:([^\s]+)$/.exec(text)?.[1]
  if (keyId === undefined) throw new Error('no way to encrypt')
  return { algorithm: 'aws:kms', keyId }
}
