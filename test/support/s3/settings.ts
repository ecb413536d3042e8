/** Encryption and storage class: headers of the request that begins an object, refused on any other. */
import { header, type S3Request } from './request.ts'
import { S3Error } from './s3-error.ts'

const algorithmHeader = 'x-amz-server-side-encryption'
const keyHeader = 'x-amz-server-side-encryption-aws-kms-key-id'
const classHeader = 'x-amz-storage-class'

const beginsObject = new Set(['PutObject', 'CopyObject', 'CreateMultipartUpload'])
const classes = new Set(['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR'])

export function checkSettings(request: S3Request): void {
  const algorithm = header(request, algorithmHeader)
  const key = header(request, keyHeader)
  const storageClass = header(request, classHeader)
  const isSet = algorithm !== undefined || key !== undefined || storageClass !== undefined
  if (isSet && !beginsObject.has(request.operation)) {
    throw invalidArgument(`encryption and storage class are not supported for ${request.operation}`)
  }
  if (algorithm !== undefined && algorithm !== 'AES256' && algorithm !== 'aws:kms') {
    throw invalidArgument('the encryption method specified is not supported')
  }
  if (key !== undefined && algorithm !== 'aws:kms') throw invalidArgument('a key needs the encryption method aws:kms')
  if (storageClass !== undefined && !classes.has(storageClass)) {
    throw new S3Error(400, 'InvalidStorageClass', 'the storage class you specified is not valid')
  }
}

/** What is kept with the object, and given back with it. */
export function settingsHeaders(request: S3Request, encrypts: boolean): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of [...(encrypts ? [algorithmHeader, keyHeader] : []), classHeader]) {
    const value = header(request, name)
    if (value !== undefined) kept[name] = value
  }
  return kept
}

/** Of those, what the answer to the write says. */
export function encryptionHeaders(kept: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(kept).filter(([name]) => name === algorithmHeader || name === keyHeader))
}

function invalidArgument(message: string): S3Error {
  return new S3Error(400, 'InvalidArgument', message)
}
