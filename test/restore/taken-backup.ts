/**
 * A base backup of a running server, put into an archive in WAL-G's layout: the server's own tar files and manifest, by
 * BASE_BACKUP, with the members of tablespaces renamed and global/pg_control in a tar file of its own.
 */
import pg from 'pg'
import { extract } from 'tar-stream'
import {
  backupName,
  claimKey,
  controlKey,
  manifestKey,
  metadataKey,
  partKey,
  sentinelKey,
} from '../../src/archive/backup-keys.ts'
import { memoryAt, piecesOf } from '../../src/archive/bytes-at.ts'
import { encode } from '../../src/archive/codec.ts'
import { formatMetadata, formatSentinel, type Sentinel, type Tablespace } from '../../src/archive/sentinel.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { deadline } from '../support/postgres.ts'
import { buffered, packTar, type TarMember } from './made-tar.ts'

interface Sent {
  readonly startLsn: string
  readonly timeline: number
  readonly endLsn: string
  readonly tars: readonly { readonly tablespace: Tablespace | null; readonly tar: Buffer }[]
  readonly manifest: Buffer
}

/** Takes the backup, in several parts. Returns its name. */
export async function takeBackup(cluster: Cluster, store: ObjectStore, segmentBytes: number): Promise<string> {
  const sent = await baseBackup(cluster)
  const startLsn = parseLsn(sent.startLsn)
  const segment = segmentName({ timeline: sent.timeline, segno: segnoOf(startLsn, segmentBytes) }, segmentBytes)
  const name = backupName(segment)
  const members: TarMember[] = []
  for (const { tablespace, tar } of sent.tars) {
    for (const { header, content } of await unpack(tar)) {
      const place = tablespace === null ? '' : `pg_tblspc/${tablespace.oid}/`
      members.push({ header: { ...header, name: place + header.name }, content })
    }
  }
  const rest = members.filter((member) => !isControl(member))
  const parts = [0, 1, 2].map((n) => rest.filter((_, at) => at % 3 === n))
  const tars = await Promise.all([...parts, members.filter(isControl)].map(packTar))
  const put = async (key: string, plain: Uint8Array): Promise<void> => {
    const body = key.endsWith('.lz4') ? encode('lz4', piecesOf(memoryAt(plain), 0, plain.length)) : plain
    await store.put(key, body, { signal: deadline(), ifAbsent: true })
  }
  await put(claimKey(segment), Buffer.from('{}'))
  for (const [n, tar] of tars.slice(0, -1).entries()) await put(partKey(name, n + 1, 'lz4'), tar)
  await put(controlKey(name, 'lz4'), tars.at(-1) ?? Buffer.alloc(0))
  await put(manifestKey(segment, 'lz4'), sent.manifest)
  const sentinel: Sentinel = {
    startLsn,
    finishLsn: parseLsn(sent.endLsn),
    stopTimeline: null,
    serverVersion: cluster.binaries.major * 10_000,
    systemIdentifier: members.find(isControl)?.content.readBigUInt64LE(0) ?? null,
    plainBytes: tars.reduce((sum, tar) => sum + tar.length, 0),
    storedBytes: 0,
    startTime: new Date(),
    finishTime: new Date(),
    host: 'db.example',
    dataFolder: cluster.dataFolder,
    isPermanent: false,
    label: null,
    tablespaces: sent.tars.flatMap(({ tablespace }) => tablespace ?? []),
    deltaFrom: null,
  }
  await put(metadataKey(name), Buffer.from(formatMetadata(sentinel)))
  await put(sentinelKey(name), Buffer.from(formatSentinel(sentinel)))
  return name
}

async function unpack(tar: Buffer): Promise<TarMember[]> {
  const members: TarMember[] = []
  const parser = extract()
  parser.end(tar)
  for await (const entry of parser) {
    members.push({ header: entry.header, content: await buffered(entry) })
  }
  return members
}

function isControl({ header }: TarMember): boolean {
  return header.name === 'global/pg_control'
}

/** The pieces of CopyData come behind a letter from 15 on; before, each tar file and the manifest is a copy of its own. */
async function baseBackup(cluster: Cluster): Promise<Sent> {
  const isOld = cluster.binaries.major < 15
  const command = isOld
    ? "BASE_BACKUP LABEL 'test' FAST NOWAIT TABLESPACE_MAP MANIFEST 'yes'"
    : "BASE_BACKUP (LABEL 'test', CHECKPOINT 'fast', WAIT 0, TABLESPACE_MAP, MANIFEST 'yes')"
  const options = { ...cluster.connection, ssl: false, replication: 'true' }
  const client = new pg.Client(options)
  await client.connect()
  const copies: Buffer[][] = []
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pg does not declare its connection
  const { connection } = client as unknown as { readonly connection: NodeJS.EventEmitter }
  connection.on('copyOutResponse', () => (isOld ? copies.push([]) : undefined))
  connection.on('copyData', ({ chunk }: { readonly chunk: Buffer }) => {
    const letter = isOld ? 'd' : String.fromCharCode(chunk.readUInt8(0))
    if (letter === 'n' || letter === 'm') copies.push([])
    if (letter === 'd') copies.at(-1)?.push(Buffer.from(isOld ? chunk : chunk.subarray(1)))
  })
  try {
    const results: unknown = await client.query(command)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- several results of one command come as a list
    const [start, places, end] = (results as pg.QueryResult<Record<string, string | number | null>>[]).map(
      (result) => result.rows,
    )
    const tablespaces = (places ?? []).map(({ spcoid, spclocation }) =>
      spcoid === null ? null : { oid: String(spcoid), location: String(spclocation) },
    )
    const contents = copies.map((pieces) => Buffer.concat(pieces))
    return {
      startLsn: String(start?.[0]?.['recptr']),
      timeline: Number(start?.[0]?.['tli']),
      endLsn: String(end?.[0]?.['recptr']),
      tars: tablespaces.map((tablespace, n) => ({ tablespace, tar: contents[n] ?? Buffer.alloc(0) })),
      manifest: contents.at(-1) ?? Buffer.alloc(0),
    }
  } finally {
    await client.end()
  }
}
