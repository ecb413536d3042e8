/** `walferry status`: what the receiver says of itself, or the archive alone; once, or anew each second. */
import { sleep } from '../kit/abort.ts'
import { systemClock } from '../kit/clock.ts'
import { describe, isError, type WalferryError } from '../kit/errors.ts'
import { drawArchive } from './archive-screen.ts'
import type { ReceiverAddress } from './ask-receiver.ts'
import { told as toldErrors } from './audit.ts'
import { gather, readConfig } from './config.ts'
import { LiveScreen } from './live-screen.ts'
import { openArchive, storeOptions } from './open-store.ts'
import type { Config } from './options.ts'
import { type Answer, type Canvas, canvasOf, drawAnswers } from './paint.ts'
import { drawReceiver } from './receiver-screen.ts'
import { askOptions, statusOptions } from './status-options.ts'
import { StatusSource, type Told } from './status-source.ts'
import { errorFields, statusFields } from './tell-status.ts'
import { durationText } from './time-words.ts'
import { givenFor } from './values.ts'

const watchMs = 1000

/** Resolves with the exit code: 1 if neither a receiver nor an archive has answered. */
export async function runStatus(args: readonly string[]): Promise<number> {
  return await toldErrors(async (signal) => {
    const sources = await gather(statusOptions, args, process.env)
    const config = readConfig(askOptions, sources)
    const isStoreNamed = givenFor('store', sources) !== null
    const archive = isStoreNamed ? await openArchive(readConfig(storeOptions, sources)) : null
    try {
      const source = new StatusSource(addressOf(config), archive)
      await (config.watch ? watch(source, config.json, signal) : tellOnce(source, config.json, signal))
    } finally {
      archive?.store.close()
    }
  })
}

/** Where a receiver with the same --listen is reached: one that listens on every address, on loopback. */
function addressOf(config: Config<'listen' | 'listen-tls-cert'>): ReceiverAddress | null {
  const { listen, 'listen-tls-cert': certificateFile = null } = config
  if (listen === null) return null
  const host = listen.host === '0.0.0.0' ? '127.0.0.1' : listen.host === '::' ? '::1' : listen.host
  return { host, port: listen.port, certificateFile }
}

async function tellOnce(source: StatusSource, json: boolean, signal: AbortSignal): Promise<void> {
  const told = await orError(source.ask(signal))
  // A program reads a document, whoever has answered; a person is told the error alone.
  if (json) process.stdout.write(`${JSON.stringify(fieldsOf(told), null, 2)}\n`)
  if (isError(told)) throw told
  if (!json) process.stdout.write(`${draw(told, canvasOf(process.stdout)).join('\n')}\n`)
}

/**
 * Until the signal aborts, or nobody reads any more. An error is no end, because a receiver may be started anew: it is
 * shown above the last answer.
 */
async function watch(source: StatusSource, json: boolean, signal: AbortSignal): Promise<void> {
  const end = new AbortController()
  const onEnd = (): void => end.abort()
  signal.addEventListener('abort', onEnd, { once: true })
  // It may have come while the archive was opened: no listener hears of that any more.
  if (signal.aborted) onEnd()
  process.stdout.on('error', onEnd)
  const screen = json ? null : new LiveScreen(process.stdout)
  let last: Last | null = null
  try {
    while (!end.signal.aborted) {
      const startMs = systemClock.monotonicMs()
      const told = await orError(source.ask(end.signal))
      if (!isError(told)) last = { told, atMs: systemClock.monotonicMs() }
      if (screen !== null) screen.show((canvas) => (isError(told) ? drawError(told, last, canvas) : draw(told, canvas)))
      else process.stdout.write(`${JSON.stringify(fieldsOf(told))}\n`)
      await sleep(Math.max(0, watchMs - (systemClock.monotonicMs() - startMs)), end.signal)
    }
  } catch (error) {
    if (!end.signal.aborted) throw error
  } finally {
    screen?.close()
  }
}

async function orError(asked: Promise<Told>): Promise<Told | WalferryError> {
  try {
    return await asked
  } catch (error) {
    if (isError(error)) return error
    throw error
  }
}

function fieldsOf(told: Told | WalferryError): object {
  return isError(told) ? errorFields(told, new Date(systemClock.nowMs())) : statusFields(told)
}

/** An answer, and when it came. */
interface Last {
  readonly told: Told
  readonly atMs: number
}

function drawError(error: WalferryError, last: Last | null, canvas: Canvas): string[] {
  const hint = error.hint === undefined ? [] : [{ text: `hint: ${error.hint}` }]
  const text = `${describe(error)} [${error.code}]`
  const lines = drawAnswers([{ label: 'Error', text, tone: 'bad', more: hint }], canvas)
  if (last === null) return lines
  const ago = durationText((systemClock.monotonicMs() - last.atMs) / 1000)
  const from: Answer = { label: 'Last answer', text: `${ago} ago: what stands below is from then`, tone: 'warning' }
  return [...lines, ...drawAnswers([from], canvas), '', ...draw(last.told, canvas)]
}

function draw(told: Told, canvas: Canvas): string[] {
  if (told.from === 'receiver') return drawReceiver(told.url, told.status, told.looks, canvas)
  return drawArchive(told.why, told.archive, new Date(systemClock.nowMs()), canvas)
}
