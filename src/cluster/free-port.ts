/**
 * A TCP port of 127.0.0.1 that nobody listens on. Not one that the kernel gives out by itself (from 32768 on, on
 * Linux): a client that tries to reach a stopped server would in the end be given the server's own port, connect to
 * itself, and keep the server from starting.
 *
 * A port may be used long after it was given, by a server that is stopped just now. So no process gives one twice, and
 * each begins in another place.
 */
import { createServer } from 'node:net'
import { systemCode, WalferryError } from '../kit/errors.ts'

const lowest = 15_000
const count = 17_000
/** More than most processes ask for: those that were started one after the other keep clear of each other. */
const apart = 97

let given = 0

/** Throws CLUSTER_FAILED if there is none. Nothing keeps the port for the caller. */
export async function freePort(): Promise<number> {
  while (given < count) {
    const port = lowest + ((process.pid * apart + given++) % count)
    if (await isFree(port)) return port
  }
  throw new WalferryError('CLUSTER_FAILED', `no port of 127.0.0.1 is free from ${lowest} to ${lowest + count - 1}`)
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
