/**
 * One multipart upload: nothing is visible before `complete`, then all of it is. What an abandoned one leaves, when
 * even the abandoning fails, no reader sees, but the bucket's owner pays for: a lifecycle rule
 * "AbortIncompleteMultipartUpload" clears it away.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { withDeadline } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { checkEncrypted, type ObjectSettings, settingsInput } from './s3-object-settings.ts'
import type { S3Connection } from './s3-connection.ts'

export interface UploadTarget {
  readonly connection: S3Connection
  readonly bucket: string
  /** The whole key, with the store's prefix. */
  readonly key: string
  /** For messages. */
  readonly url: string
  readonly settings: ObjectSettings
}

// All parts but the last must have 5 MiB, and there may be 10 000: so one object may have 156 GiB.
export const partBytes = 16 * 1024 * 1024

const abandonMs = 5000 // who stops walferry waits for this; what it leaves costs little

export class S3Upload {
  readonly #target: UploadTarget
  readonly #uploadId: string
  readonly #parts: CompletedPart[] = []
  #count = 0

  static async begin(target: UploadTarget, signal: AbortSignal): Promise<S3Upload> {
    const call = { operation: 'CreateMultipartUpload', target: target.url }
    const input = {
      Bucket: target.bucket,
      Key: target.key,
      // The SDK sends each part with one. Where it was not announced, some stores (Versity's gateway) refuse to complete.
      ChecksumAlgorithm: 'CRC32' as const,
      ...settingsInput(target.settings),
    }
    const { UploadId, ServerSideEncryption } = await target.connection.send(call, 0, signal, (client, options) =>
      client.send(new CreateMultipartUploadCommand(input), options),
    )
    if (UploadId === undefined) throw notS3('CreateMultipartUpload', target.url, 'UploadId')
    const upload = new S3Upload(target, UploadId)
    try {
      checkEncrypted(target.settings, call, ServerSideEncryption)
    } catch (error) {
      await upload.abandon()
      throw error
    }
    return upload
  }

  private constructor(target: UploadTarget, uploadId: string) {
    this.#target = target
    this.#uploadId = uploadId
  }

  /** The next number: parts may be sent side by side, and again. */
  take(): number {
    return ++this.#count
  }

  /** The bytes must stay as they are until this resolves. */
  async send(number: number, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { connection, bucket, key, url } = this.#target
    const call = { operation: 'UploadPart', target: url }
    const input = { Bucket: bucket, Key: key, UploadId: this.#uploadId, PartNumber: number, Body: bytes }
    const { ETag, ChecksumCRC32 } = await connection.send(call, bytes.length, signal, (client, options) =>
      client.send(new UploadPartCommand(input), options),
    )
    if (ETag === undefined) throw notS3('UploadPart', url, 'ETag')
    this.#parts.push({ PartNumber: number, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) })
  }

  async complete(ifAbsent: boolean, signal: AbortSignal): Promise<void> {
    const { connection, bucket, key, url } = this.#target
    const call = { operation: 'CompleteMultipartUpload', target: url, ifAbsent }
    const input = {
      Bucket: bucket,
      Key: key,
      UploadId: this.#uploadId,
      MultipartUpload: { Parts: this.#parts.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0)) },
      ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
    }
    // S3 may take minutes to put the parts together, and sends spaces meanwhile: as long as one part may take.
    const { ETag } = await connection.send(call, partBytes, signal, (client, options) =>
      client.send(new CompleteMultipartUploadCommand(input), options),
    )
    if (ETag === undefined) throw notS3('CompleteMultipartUpload', url, 'ETag')
  }

  /** Gives the upload up, if the store can be reached. Never rejects; takes no signal, for an abort is one reason. */
  async abandon(): Promise<void> {
    const { connection, bucket, key, url } = this.#target
    const call = { operation: 'AbortMultipartUpload', target: url }
    const input = { Bucket: bucket, Key: key, UploadId: this.#uploadId }
    const late = (): Error => new Error(`${call.operation} took too long`)
    await withDeadline(abandonMs, new AbortController().signal, late, (signal) =>
      connection.send(call, 0, signal, (client, options) =>
        client.send(new AbortMultipartUploadCommand(input), options),
      ),
    ).catch(() => undefined)
  }
}

/** A 200 without what S3 always sends is some other server's: a proxy's page is no proof that anything was stored. */
export function notS3(operation: string, target: string, missing: string): WalferryError {
  return new WalferryError('STORE_FAILED', `the answer to ${operation} of ${target} has no ${missing}`, {
    hint: 'The endpoint answered, but not as S3 does: check the endpoint and any proxy before it.',
    fields: { operation, target },
  })
}
