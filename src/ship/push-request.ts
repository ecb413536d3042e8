/** What the ways of a push have in common. */
import type { Archive } from '../archive/archive.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { claimArchive } from '../archive/owner.ts'
import { WalferryError } from '../kit/errors.ts'
import { noMetrics } from '../metrics/catalogue.ts'
import { Carrier } from './carrier.ts'
import { openFile } from './push-source.ts'

export interface PushRequest {
  readonly archive: Archive
  /** The file, as archive_command's %p has it; its last part is its name. */
  readonly path: string
  readonly codec: WritableCodec
}

export interface Pushed {
  /** Where it lies now. */
  readonly key: string
  /** What a person should know, although nothing is lost: sentences. */
  readonly warnings: readonly string[]
}

/** Throws ARCHIVE_FOREIGN and ENCRYPTION_KEY. */
export async function claim({ archive }: PushRequest, cluster: ClusterIdentity, signal: AbortSignal): Promise<void> {
  await claimArchive(archive, cluster, { signal, now: new Date() })
}

/** For the one segment that lies at `path`. A process that ends with its one file is not watched. */
export function carrierFor({ archive, codec }: PushRequest, path: string, segmentBytes: number): Carrier {
  const source = { segmentBytes, openForRead: () => openFile(path) }
  return new Carrier({ source, archive, codec, metrics: noMetrics, aside: false })
}

export function conflict({ archive, path }: PushRequest, key: string): WalferryError {
  return new WalferryError('ARCHIVE_CONFLICT', `${archive.store.url}: ${key} holds other content than ${path}`, {
    hint:
      'Two servers with one system identifier, or two histories of one, archive into one place. Nothing was overwritten. ' +
      'Find out which is right, and give the other an archive of its own.',
    fields: { key, path },
  })
}
