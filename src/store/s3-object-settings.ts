/** How S3 is asked to keep what is put: encrypted on its disks, in a storage class. Sent where an object begins. */
import type { StorageClass } from '@aws-sdk/client-s3'
import { WalferryError } from '../kit/errors.ts'
import type { Encryption } from './encryption.ts'
import type { S3Call } from './s3-errors.ts'

export interface ObjectSettings {
  readonly encryption?: Encryption
  /** Example: `STANDARD_IA`. Default: the bucket's. */
  readonly storageClass?: string
}

/** The settings as fields of PutObject and CreateMultipartUpload. */
export function settingsInput(settings: ObjectSettings) {
  const { encryption, storageClass } = settings
  return {
    ...(encryption === undefined ? {} : { ServerSideEncryption: encryption.algorithm }),
    ...(encryption?.keyId === undefined ? {} : { SSEKMSKeyId: encryption.keyId }),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- services of one's own have classes of their own
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass }),
  }
}

/** A service that does not know of encryption passes its header over; one that encrypts says so in its answer. */
export function checkEncrypted(settings: ObjectSettings, call: S3Call, said: string | undefined): void {
  const asked = settings.encryption?.algorithm
  if (asked === undefined || asked === said) return
  throw new WalferryError('STORE_FAILED', `${call.target} was to be encrypted with ${asked}, and was not`, {
    hint: 'Use a service that encrypts what it keeps, or leave --s3-sse out.',
    fields: { operation: call.operation, target: call.target, asked, said },
  })
}
