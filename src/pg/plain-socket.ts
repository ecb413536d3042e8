/**
 * A TCP or Unix socket that reads into one buffer, over and over. What Node.js does otherwise, a new buffer of 64 KiB for
 * each read, costs a receiver that catches up a quarter of its CPU time: for fresh memory, and for collecting the old.
 *
 * There are no 'data' events; 'end', 'error', 'close', pause() and resume() are as ever. TLS needs those events, and has
 * buffers of its own.
 */
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net'

/** A few reads for what a full kernel buffer holds; a larger one would leave the processor's cache before it is read. */
const readBytes = 256 * 1024

export class PlainSocket extends Socket {
  /** Takes what was read. The bytes are gone when it returns. */
  readonly onRead: { take: (bytes: Buffer) => void }

  constructor() {
    const onRead = { take(): void {} } as { take: (bytes: Buffer) => void }
    const memory = Buffer.allocUnsafeSlow(readBytes)
    const options: SocketConstructorOpts & ConnectOpts = {
      onread: {
        buffer: memory,
        callback: (bytes) => {
          onRead.take(memory.subarray(0, bytes))
          return true
        },
      },
    }
    super(options)
    this.onRead = onRead
  }
}
