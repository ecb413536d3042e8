import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Some 3 ms: who receives a stream, answers commits or feeds a compressor can wait for so long. */
const turnBytes = 1024 * 1024

/** The SHA-256 of `bytes`, in hexadecimal; the event loop does what else there is to do after each MiB. */
export async function sha256InTurns(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += turnBytes) {
    if (at > 0) await nextTurn()
    hash.update(bytes.subarray(at, at + turnBytes))
  }
  return hash.digest('hex')
}
