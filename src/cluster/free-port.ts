/**
 * A TCP port of 127.0.0.1 that nobody listens on. Not one that the kernel gives out by itself (from 32768 on, on
 * Linux): a client that tries to reach a stopped server would in the end be given the server's own port, connect to
 * itself, and keep the server from starting.
 */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { systemCode, WalferryError } from '../kit/errors.ts'

const lowest = 15_000
const highest = 32_000
const attempts = 100

/** Throws CLUSTER_FAILED if there is none. Nothing keeps the port for the caller. */
export async function freePort(): Promise<number> {
  for (let n = 0; n < attempts; n++) {
    const port = randomInt(lowest, highest)
    if (await isFree(port)) return port
  }
  throw new WalferryError('CLUSTER_FAILED', `no free port of 127.0.0.1 was found in ${attempts} attempts`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => {
      if (systemCode(error) === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
