/** Some segments of WAL that a real server has written, and where its records end. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { megabyte, rows, type TestVersion, value, withCluster } from '../support/postgres.ts'

export interface RealWal {
  readonly systemIdentifier: bigint
  readonly segmentBytes: number
  readonly firstSegno: number
  /** Segment after segment; the last one ends where the server was, padded with zeros. */
  readonly segments: readonly Buffer[]
  /** Where each record begins and ends, in order. An XLOG_SWITCH ends with its own bytes. */
  readonly records: readonly { readonly start: Lsn; readonly end: Lsn }[]
  /** Indexes of segments that end in an XLOG_SWITCH. */
  readonly switched: readonly number[]
}

const segmentBytes = megabyte

/** Rows of many sizes, records that go over many pages, two switches, and one record that is larger than a segment. */
const statements = [
  'CREATE TABLE t (n int, text text)',
  'INSERT INTO t SELECT n, repeat(md5(n::text), n % 60) FROM generate_series(1, 1500) n',
  'SELECT pg_switch_wal()',
  'INSERT INTO t SELECT n, repeat(md5(n::text), n % 90) FROM generate_series(1, 1200) n',
  "SELECT pg_logical_emit_message(false, 'test', repeat('large', 300000))",
  'UPDATE t SET n = n + 1 WHERE n % 3 = 0',
  'SELECT pg_switch_wal()',
  'INSERT INTO t SELECT n, repeat(md5(n::text), n % 30) FROM generate_series(1, 2500) n',
]

export async function realWal(version: TestVersion): Promise<RealWal> {
  const settings = { wal_keep_size: '1GB', max_wal_size: '2GB', checkpoint_timeout: '1h', autovacuum: false }
  return await withCluster({ version, segmentBytes, settings }, async (cluster, client) => {
    const firstSegno = segnoOf(parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()')), segmentBytes)
    for (const statement of statements) await client.query(statement)
    await client.query('CHECKPOINT')
    const end = parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()'))
    const systemIdentifier = BigInt(await value(client, 'SELECT system_identifier FROM pg_control_system()'))
    const segments = await readWal(join(cluster.dataFolder, 'pg_wal'), firstSegno, end)
    const walked = walk(segments, firstSegno)
    if (version.major >= 15) await compareWithServer(client, walked.records, end)
    return { systemIdentifier, segmentBytes, firstSegno, segments, ...walked }
  })
}

async function readWal(folder: string, firstSegno: number, end: Lsn): Promise<Buffer[]> {
  const segments: Buffer[] = []
  for (let segno = firstSegno; segmentStart(segno, segmentBytes) < end; segno++) {
    const buffer = Buffer.alloc(segmentBytes)
    const file = await open(join(folder, segmentName({ timeline: 1, segno }, segmentBytes)))
    await file.read(buffer, 0, segmentBytes, 0)
    await file.close()
    // Behind the end, the server's file holds what it held in a former life.
    const bytes = Number(end - segmentStart(segno, segmentBytes))
    if (bytes < segmentBytes) buffer.fill(0, bytes)
    segments.push(buffer)
  }
  return segments
}

/** Fed eight bytes at a time, because records end at multiples of eight. */
function walk(segments: readonly Buffer[], firstSegno: number): Pick<RealWal, 'records' | 'switched'> {
  const walker = RecordWalker.ofSegment({ segment: { timeline: 1, segno: firstSegno }, segmentBytes })
  const records: { start: Lsn; end: Lsn }[] = []
  const switched: number[] = []
  for (const [n, segment] of segments.entries()) {
    for (let at = 0; at < segmentBytes && walker.stopped === null; at += 8) {
      walker.push(segment.subarray(at, at + 8))
      const { lastRecord: start, validEnd: end } = walker
      if (start === null || end === null || end === records.at(-1)?.end) continue
      records.push({ start, end })
      if (walker.endsInSwitch) switched.push(n)
    }
  }
  return { records, switched }
}

/** Our own walk is not its own judge: pg_walinspect must see the same records. */
async function compareWithServer(client: pg.Client, records: RealWal['records'], end: Lsn): Promise<void> {
  await client.query('CREATE EXTENSION pg_walinspect')
  const first = records[0]?.start ?? end
  const sql = `SELECT start_lsn, end_lsn, record_type FROM pg_get_wal_records_info('${lsnText(first)}', '${lsnText(end)}')`
  const seen = (await rows(client, sql)).map(([start, to, type]) => ({
    start: parseLsn(start ?? ''),
    // The server counts the zeros behind a switch as its own; the record has 24 bytes.
    end: type === 'SWITCH' ? plus(parseLsn(start ?? ''), 24) : parseLsn(to ?? ''),
  }))
  const text = (list: RealWal['records']): string => list.map((one) => `${one.start} ${one.end}`).join('\n')
  if (text(seen) !== text(records)) throw new Error('the server sees other records than we do')
}

function lsnText(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`
}
