/** `walferry receive`: from configuration to a running daemon, or to one slot command; and from signals to its end. */
import { resolve } from 'node:path'
import { refuseUnwritable } from '../archive/codec-support.ts'
import type { Archive } from '../archive/archive.ts'
import { type BackupResult, takeBackup } from '../backup/backup.ts'
import { parseSchedule } from '../daemon/backup-schedule.ts'
import { openLog } from '../daemon/log.ts'
import { type Backups, ReceiveDaemon } from '../daemon/receive-daemon.ts'
import { WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import type { Target } from '../pg/target.ts'
import type { TlsFiles } from '../serve/tls-files.ts'
import { acceptBoth, checkConfig, gather } from './config.ts'
import { checkTarget } from './connection.ts'
import { endNow } from './end-now.ts'
import { openArchive } from './open-store.ts'
import type { Config } from './options.ts'
import { receiveOptions, slotActionOptions } from './receive-options.ts'
import { report, warn } from './report.ts'
import { runSlotAction, type SlotAction } from './slot-action.ts'
import type { Sources } from './values.ts'
import { version } from '../kit/version.ts'

type ReceiveConfig = Config<(typeof receiveOptions)[number]>
type LogConfig = Config<'log-level' | 'verbose' | 'log-format'>

/** Resolves with the exit code once everything is stopped. */
export async function runReceive(args: readonly string[]): Promise<number> {
  let debug = false
  // For the log, whose format is one of the options.
  const warnings: string[] = []
  const openLogOf = (config: LogConfig): Log => {
    const log = logOf(config)
    for (const text of warnings.splice(0)) log.warn(text)
    return log
  }
  try {
    const sources = await gather(receiveOptions, args, process.env, (text) => warnings.push(text))
    const target = checkTarget(sources, process.env)
    if (wantsSlotAction(sources)) {
      const [config, server] = acceptBoth(checkConfig(slotActionOptions, sources), target)
      const action = slotActionOf(config)
      debug = levelOf(config) === 'debug'
      // A signal ends it as it ends any process: it is one command, which is done or not.
      await runSlotAction(action, server, openLogOf(config), new AbortController().signal)
    } else {
      const [config, server] = acceptBoth(checkConfig(receiveOptions, sources), target)
      debug = levelOf(config) === 'debug'
      await refuseUnwritable(config.compression)
      await runDaemon(config, server, openLogOf(config))
    }
    return 0
  } catch (error) {
    for (const text of warnings) warn(text)
    report(error, debug)
    return 1
  }
}

function wantsSlotAction(sources: Sources): boolean {
  const checked = checkConfig(['create-slot', 'drop-slot'], { ...sources, problems: [] })
  return 'value' in checked && (checked.value['create-slot'] || checked.value['drop-slot'])
}

function slotActionOf(config: Config<(typeof slotActionOptions)[number]>): SlotAction {
  if (config['create-slot'] && config['drop-slot']) {
    throw new WalferryError('BAD_INPUT', '--create-slot and --drop-slot exclude each other', {
      hint: 'Do one after the other.',
    })
  }
  return {
    action: config['drop-slot'] ? 'drop' : 'create',
    slot: config.slot,
    ifNotExists: config['if-not-exists'],
  }
}

function levelOf(config: LogConfig): LogConfig['log-level'] {
  return config.verbose ? 'debug' : config['log-level']
}

function logOf(config: LogConfig): Log {
  return openLog(levelOf(config), config['log-format'], (line) => process.stderr.write(line))
}

/** Throws BAD_INPUT for one without the other. */
function tlsFilesOf(config: Partial<Config<'listen-tls-cert' | 'listen-tls-key'>>): TlsFiles | null {
  const { 'listen-tls-cert': cert, 'listen-tls-key': key } = config
  if (cert === undefined && key === undefined) return null
  if (cert !== undefined && key !== undefined) return { cert, key }
  const [given, missing] = key === undefined ? ['cert', 'key'] : ['key', 'cert']
  throw new WalferryError('BAD_INPUT', `--listen-tls-${given} is given, and --listen-tls-${missing} is missing`, {
    hint: 'A certificate and its own key are needed, or none of them.',
  })
}

/** What the daemon's backups are like. Their WAL comes by the receiver, and their pieces are not many: capture goes first. */
function scheduledBackups(text: string, config: ReceiveConfig, target: Target, archive: Archive, log: Log): Backups {
  const take = (signal: AbortSignal, metrics: Metrics): Promise<BackupResult> =>
    takeBackup(
      {
        target,
        archive,
        codec: config.compression,
        partBytes: config['part-size'],
        uploadConcurrency: Math.min(2, config['upload-concurrency']),
        label: config.label ?? null,
        fast: config.fast,
        maxRate: config['max-rate'] ?? null,
        verifyChecksums: config['verify-checksums'],
        isPermanent: false,
        withWal: false,
        waitForWalMs: config['wait-for-wal'],
        waitWhole: false,
        switchWal: null,
        log,
        metrics,
        onProgress: () => undefined,
      },
      signal,
    )
  return { text, schedule: parseSchedule(text), take }
}

/** How long a stop may take beside what is shipped: a server says goodbye within 3 s. */
const closingMs = 10_000
/** What a timer can take. */
const longestMs = 2 ** 31 - 1

async function runDaemon(config: ReceiveConfig, target: Target, log: Log): Promise<void> {
  const archive = await openArchive(config, log)
  // Now, and not with the first segment: an upgrade may replace the files while it runs.
  await archive.warmUp(config.compression)
  const daemon = new ReceiveDaemon(
    {
      version: version(),
      target,
      slot: config.slot,
      spoolFolder: resolve(config.spool),
      statusIntervalMs: config['status-interval'],
      loop: config.loop,
      endpos: config.endpos ?? null,
      ack: config.ack,
      ackStoreTimeoutMs: config['ack-store-timeout'],
      onGap: config['on-gap'],
      requireSlot: config['require-slot'],
      shipIntervalMs: config['ship-interval'],
      uploadConcurrency: config['upload-concurrency'],
      codec: config.compression,
      drainTimeoutMs: config['drain-timeout'],
      listen: config.listen === null ? null : { ...config.listen, tls: tlsFilesOf(config) },
    },
    archive,
    log,
    config['backup-schedule'] === undefined
      ? null
      : scheduledBackups(config['backup-schedule'], config, target, archive, log),
  )
  const stop = new AbortController()
  let overdue: NodeJS.Timeout | undefined
  // Whatever ends it at once: what is synced stays in the spool, and the next start ships it.
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      log.warn('stopped at once by a second signal', { signal })
      endNow(signal)
      return
    }
    log.info('stopping: shipping what is synced', { signal })
    stop.abort(new Error(`stopped by ${signal}`))
    overdue = setTimeout(
      () => {
        const hint = 'Does a file system hang, of the store or the spool (NFS whose server is away)?'
        log.error('stopped at once: the time to stop in is over, and something does not end', { signal, hint })
        endNow(signal)
      },
      Math.min(config['drain-timeout'] + closingMs, longestMs),
    )
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  try {
    await daemon.run(stop.signal)
  } finally {
    clearTimeout(overdue)
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    archive.store.close()
  }
}
