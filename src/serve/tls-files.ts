/**
 * The listener's certificate and key, from two PEM files: the certificate with what leads from it to its authority, and
 * its key without a passphrase. They are read again when they change, because certificates are renewed.
 */
import { open, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { sleep } from '../kit/abort.ts'
import { describe, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'

export interface TlsFiles {
  readonly cert: string
  readonly key: string
}

export interface TlsPair {
  readonly cert: Buffer
  readonly key: Buffer
}

const everyMs = 1000

/** Throws BAD_INPUT, with the option whose file it is, for what cannot be served. */
export async function readTlsFiles(files: TlsFiles): Promise<TlsPair> {
  const cert = await readFile('--listen-tls-cert', files.cert)
  const key = await readFile('--listen-tls-key', files.key)
  // A group may be needed to share it with others; everybody is never meant.
  if (process.platform !== 'win32' && (key.mode & 0o007) !== 0) {
    const hint = `Let its owner alone: chmod 600 ${files.key}`
    throw new WalferryError(
      'BAD_INPUT',
      `--listen-tls-key: ${files.key}: every user of the machine may access the file`,
      {
        hint,
      },
    )
  }
  // Each by itself first, to say which of them it is.
  mustLoad('--listen-tls-cert', files.cert, { cert: cert.content })
  mustLoad('--listen-tls-key', files.key, { key: key.content })
  mustLoad('--listen-tls-key', files.key, { cert: cert.content, key: key.content })
  return { cert: cert.content, key: key.content }
}

/**
 * Calls `use` with what the files hold whenever that has changed, until `signal` aborts. What cannot be served is told,
 * and the pair of before stays: a renewal changes one file after the other. Never rejects.
 */
export async function followTlsFiles(
  files: TlsFiles,
  log: Log,
  use: (pair: TlsPair) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let seen = await lookOf(files); ; ) {
    try {
      await sleep(everyMs, signal)
    } catch {
      return
    }
    const look = await lookOf(files)
    if (look === seen) continue
    seen = look
    try {
      use(await readTlsFiles(files))
      log.info('serving with a new certificate', { cert: files.cert })
    } catch (error) {
      const hint = 'The one of before stays in use. As soon as both files are right, they are read again.'
      log.warn(`the listener's new certificate cannot be used: ${describe(error)}`, { hint })
    }
  }
}

/** Changes whenever one of the files may have. */
async function lookOf({ cert, key }: TlsFiles): Promise<string> {
  return `${await lookOfOne(cert).catch(describe)}, ${await lookOfOne(key).catch(describe)}`
}

async function lookOfOne(path: string): Promise<string> {
  const { ino, size, mtimeMs, mode } = await stat(path)
  return `${ino} ${size} ${mtimeMs} ${mode}`
}

async function readFile(option: string, path: string): Promise<{ readonly content: Buffer; readonly mode: number }> {
  try {
    const file = await open(path)
    try {
      return { mode: (await file.stat()).mode, content: await file.readFile() }
    } finally {
      await file.close()
    }
  } catch (cause) {
    const hint = 'Name a PEM file that the user of walferry may read.'
    throw new WalferryError('BAD_INPUT', `${option}: ${path}: the file cannot be read`, { cause, hint })
  }
}

function mustLoad(option: string, path: string, parts: Partial<TlsPair>): void {
  try {
    createSecureContext(parts)
  } catch (cause) {
    const hint = 'A certificate and its own key are needed, as PEM, the key without a passphrase.'
    throw new WalferryError('BAD_INPUT', `${option}: ${path}: it cannot be used`, { cause, hint })
  }
}
