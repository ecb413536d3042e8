/**
 * Holds at most so many connections. For one more, that one is closed of which nothing was heard for longest: whoever
 * opens many and says nothing, or says it slowly, crowds out himself and nobody else for long.
 */
import type { Socket } from 'node:net'

export class ConnectionLimit {
  readonly #most: number
  /** The one that was silent for longest comes first. By the other side: TLS has another object for the same one. */
  readonly #open = new Map<string, Socket>()

  constructor(most: number) {
    this.#most = most
  }

  add(socket: Socket): void {
    const name = nameOf(socket)
    this.#open.set(name, socket)
    socket.once('close', () => {
      if (this.#open.get(name) === socket) this.#open.delete(name)
    })
    if (this.#open.size <= this.#most) return
    const [silent] = this.#open.values()
    silent?.destroy()
  }

  /** Closes all, also those that are in the middle of a handshake: HTTP does not know them yet. */
  closeAll(): void {
    for (const socket of this.#open.values()) socket.destroy()
  }

  /** A whole request has come. */
  heard(socket: Socket): void {
    const name = nameOf(socket)
    const held = this.#open.get(name)
    if (held === undefined) return
    this.#open.delete(name)
    this.#open.set(name, held)
  }
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}
