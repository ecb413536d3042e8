/** `walferry receive`: from configuration to a running daemon, and from signals to its end. */
import { resolve } from 'node:path'
import { refuseUnwritable } from '../archive/codec.ts'
import { openLog } from '../daemon/log.ts'
import { ReceiveDaemon } from '../daemon/receive-daemon.ts'
import { parseTarget } from '../pg/target.ts'
import type { Flags } from './config.ts'
import { readConfig } from './config.ts'
import { openStore, storeOptions } from './open-store.ts'
import { version } from './version.ts'

export const receiveOptions = [
  'url',
  'slot',
  'status-interval',
  'loop',
  'endpos',
  'ack',
  'ack-store-timeout',
  'on-gap',
  'require-slot',
  'spool',
  ...storeOptions,
  'ship-interval',
  'compression',
  'upload-concurrency',
  'drain-timeout',
  'listen',
  'log-level',
  'log-format',
] as const

/** Resolves once everything is stopped. */
export async function runReceive(flags: Flags): Promise<void> {
  const config = readConfig(receiveOptions, flags, process.env)
  await refuseUnwritable(config.compression)
  const target = parseTarget(config.url, process.env)
  const log = openLog(config['log-level'], config['log-format'], (line) => process.stderr.write(line))
  const store = await openStore(config, log)
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
      listen: config.listen,
    },
    store,
    log,
  )
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      // What is synced stays in the spool, and the next start ships it.
      log.warn('stopped at once by a second signal', { signal })
      process.exit(1)
    }
    log.info('stopping: shipping what is synced', { signal })
    stop.abort(new Error(`stopped by ${signal}`))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  try {
    await daemon.run(stop.signal)
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    store.close()
  }
}
