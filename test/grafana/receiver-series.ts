/**
 * Series as a receiver gives them, in the notation of promtool's unit tests: one sample each 30 s.
 *
 *     receiver({ walferry_connected: turning(2, 1, 0) })     a healthy, idle receiver that loses its server after 2 minutes
 */

/** Samples by series, without the target's labels: `walferry_problem{code="STORE_DENIED"}`. null: there is no such series. */
export type Series = Readonly<Record<string, string | null>>

/** The labels that a scrape gives. */
export interface Target {
  readonly job?: string
  readonly instance?: string
  readonly cluster?: string
}

export const here: Target = { job: 'walferry', instance: 'a:9868', cluster: 'main' }
export const partner: Target = { ...here, instance: 'b:9868' }

export const sampleSeconds = 30
const count = 190 // 95 minutes: no case takes longer
const perMinute = 60 / sampleSeconds

/** The same value all the time. */
export function always(value: number | string): string {
  return `${value}x${count}`
}

/** +Inf, from the second sample on: the notation has no word for it, and twice 1e308 is more than there is. */
export const infinite = `1e308+1e308x${count}`

/** One value until a minute, another one from then on; `_` is no sample, `stale` what a target leaves that is gone. */
export function turning(minute: number, before: number | string, after: number | string): string {
  return `${before}x${minute * perMinute - 1} ${after}x${count}`
}

/** A number that moves by as much each minute. */
export function moving(start: number, perMinuteBy: number): string {
  const step = perMinuteBy / perMinute
  return `${start}${step < 0 ? '' : '+'}${step}x${count}`
}

const gigabyte = 1024 ** 3
const started = 1_700_000_000

/** Everything is shipped, nobody writes, and the newest backup is half a day old. */
const healthy: Series = {
  up: always(1),
  process_start_time_seconds: always(started),
  'walferry_build_info{version="1.0.0"}': always(1),
  walferry_ready: always(1),
  // Once there was a problem, and it is over.
  'walferry_problem{code="PG_CONNECTION_LOST"}': always(0),
  'walferry_problem{code="STORE_UNREACHABLE"}': always(0),
  walferry_connected: always(1),
  walferry_timeline: always(1),
  walferry_timeline_switches_total: always(0),
  'walferry_reconnects_total{reason="PG_CONNECTION_LOST"}': always(1),
  'walferry_lag_seconds{stage="receive"}': always(0),
  'walferry_lag_seconds{stage="sync"}': always(0),
  'walferry_lag_seconds{stage="ship"}': always(0),
  walferry_loss_seconds: always(0),
  walferry_restorable_time_seconds: moving(started, 60),
  walferry_gaps: always(0),
  walferry_gaps_total: always(0),
  walferry_spool_segments: always(1),
  walferry_spool_disk_free_bytes: always(40 * gigabyte),
  walferry_spool_disk_size_bytes: always(50 * gigabyte),
  walferry_spool_set_aside_files: always(0),
  'walferry_slot_wal_status{status="reserved"}': always(1),
  'walferry_slot_wal_status{status="lost"}': always(0),
  walferry_slot_safe_bytes: always(9 * gigabyte),
  walferry_slot_retained_bytes: always(gigabyte),
  walferry_slot_asked_time_seconds: moving(0, 60),
  'walferry_uploads_total{kind="tail",result="success"}': always(1000),
  'walferry_store_failures_total{code="STORE_UNREACHABLE"}': always(3),
  walferry_backup_age_seconds: always(12 * 3600),
  walferry_backup_success_time_seconds: always(started),
  walferry_backup_failure_time_seconds: always(0),
  walferry_backup_failures_total: always(0),
}

/** What Prometheus keeps of a healthy, idle receiver, but for `differing`. */
export function receiver(differing: Series = {}, target: Target = here): Series {
  return at(target, { ...healthy, ...differing })
}

/** A target that cannot be scraped, from a minute on; 0 for ever since. */
export function unreachable(fromMinute: number, target: Target = here): Series {
  if (fromMinute === 0) return at(target, { up: always(0) })
  const gone = Object.entries(healthy).map(([name, samples]) => {
    const [first = ''] = (samples ?? '').split('x')
    return [name, `${first}x${fromMinute * perMinute - 1} stale`]
  })
  return at(target, { ...Object.fromEntries(gone), up: turning(fromMinute, 1, 0) })
}

/** Gives series the labels of a target. */
function at(target: Target, series: Series): Series {
  const labels = Object.entries(target).map(([name, value]) => `${name}="${value}"`)
  return Object.fromEntries(
    Object.entries(series).map(([name, samples]) => {
      const [metric = '', own = ''] = name.replace(/\}$/, '').split('{')
      return [`${metric}{${[...labels, ...(own === '' ? [] : [own])].join(',')}}`, samples]
    }),
  )
}
