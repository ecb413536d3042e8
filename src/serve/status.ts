/**
 * What a running receiver says of itself at one moment: `/status.json`, read by `walferry status` and by the page.
 *
 * Times are ISO 8601 in UTC; LSNs are written as PostgreSQL does. What is not known is null, never 0.
 */
import * as v from 'valibot'

const count = v.pipe(v.number(), v.minValue(0))
const lag = v.object({ bytes: count, seconds: count })
const time = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.check((text) => !Number.isNaN(Date.parse(text))),
)
const lsn = v.pipe(v.string(), v.regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/))

const reason = v.object({ code: v.string(), message: v.string(), hint: v.optional(v.string()) })

export const statusSchema = v.object({
  /** Raised when a reader of the one before would be misled. */
  format: v.literal(1),
  version: v.string(),
  /** When this was said, by our own clock. */
  at: time,
  startedAt: time,
  /** What the receiver is doing: `connecting`, `streaming`, ... */
  state: v.string(),
  /** Empty when it is ready. */
  reasons: v.array(reason),
  /** The server that is, or was last, streamed from. */
  server: v.nullable(
    v.object({ host: v.string(), version: v.nullable(v.string()), systemIdentifier: v.string(), timeline: count }),
  ),
  /** null before anything was received or found. */
  positions: v.nullable(
    v.object({
      server: lsn,
      received: lsn,
      written: lsn,
      synced: lsn,
      shipped: lsn,
    }),
  ),
  lag: v.object({ receive: lag, sync: lag, ship: lag }),
  /** WAL per second, over the last minute or since the start. */
  rate: v.object({ receivedBytesPerSecond: count, shippedBytesPerSecond: count }),
  /** That of `restorable`, by the name that it has also in what the archive alone tells. */
  restorableTime: v.nullable(time),
  /** To which moment the store alone can bring the database; null while that is not known. */
  restorable: v.nullable(
    v.object({
      /** The newest, by the server's clock; null: to none. */
      time: v.nullable(time),
      /** The newest base backup that leads there. */
      backup: v.nullable(v.string()),
      /** Newer WAL is stored, behind WAL that is missing. */
      beforeGap: v.boolean(),
      /** What the stored WAL reaches: for whose base backups lie elsewhere. */
      walTime: v.nullable(time),
    }),
  ),
  /** What would be lost if server and spool were gone now. */
  lossSeconds: v.nullable(count),
  /** Our slot, as the server last said; null where it was not asked yet, or refuses. */
  slot: v.nullable(
    v.object({
      name: v.string(),
      /** reserved, extended, unreserved, lost, or missing. */
      walStatus: v.string(),
      /** null: without a limit. */
      safeBytes: v.nullable(v.number()),
      retainedBytes: v.nullable(count),
      askedAt: time,
    }),
  ),
  spool: v.object({
    folder: v.string(),
    bytes: count,
    /** Segments whose end is not shipped, the open one included. */
    segments: count,
    diskFreeBytes: v.nullable(count),
    diskBytes: v.nullable(count),
  }),
  store: v.object({
    /** Without credentials. */
    url: v.string(),
    uploadsInFlight: count,
    /** What went wrong last, while it still does. */
    problem: v.nullable(reason),
    lastUploadAt: v.nullable(time),
  }),
  backup: v.object({
    running: v.boolean(),
    /** The newest that is complete, by whomever; null: none, or not known yet. */
    lastSuccessAt: v.nullable(time),
    /** Of the schedule, since our start. */
    lastFailureAt: v.nullable(time),
    /** As given; null without one. */
    schedule: v.nullable(v.string()),
    nextAt: v.nullable(time),
  }),
  /** Those that nobody has acknowledged; null while the archive could not be asked. */
  gaps: v.nullable(v.array(v.object({ timeline: count, from: lsn, to: lsn }))),
})

export type Status = v.InferOutput<typeof statusSchema>
