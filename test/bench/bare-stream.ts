/** A replication connection of which nothing is looked at: the least that a client in Node.js can do. */
import { Socket } from 'node:net'

const readBytes = 256 * 1024
const protocol = 196_608 // 3.0

export interface Place {
  readonly host: string
  readonly port: string
  readonly user: string
}

export function startReplication(slot: string, lsn: string): string {
  return `START_REPLICATION SLOT ${slot} PHYSICAL ${lsn}`
}

/** Calls `take` with what each read brings of the answer to `command`, which is gone with the next one. */
export function replicate({ host, port, user }: Place, command: string, take: (bytes: Buffer) => void): Socket {
  const memory = Buffer.allocUnsafeSlow(readBytes)
  let isAsked = false
  let isHeard = false
  const heard = (length: number): boolean => {
    const bytes = memory.subarray(0, length)
    if (!isHeard && memory[0] === 0x45) throw new Error(`the server refused: ${bytes.toString('utf8', 5)}`)
    if (isAsked) {
      isHeard = true
      take(bytes)
    } else if (isReady(bytes)) {
      isAsked = true
      socket.write(message('Q', `${command}\0`))
    }
    return true
  }
  const socket = new Socket({ onread: { buffer: memory, callback: heard } } as object)
  socket.on('error', (error) => {
    throw error
  })
  const settings = `user\0${user}\0replication\0true\0\0`
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + settings.length)
  head.writeInt32BE(protocol, 4)
  socket.setNoDelay()
  socket.connect(Number(port), host, () => socket.write(Buffer.concat([head, Buffer.from(settings)])))
  return socket
}

/** Ends with ReadyForQuery: before the first command, and behind one that has an end. */
export function isReady(bytes: Buffer): boolean {
  return bytes.length >= 6 && bytes[bytes.length - 6] === 0x5a && bytes.readInt32BE(bytes.length - 5) === 5
}

function message(type: string, text: string): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + text.length, 1)
  return Buffer.concat([head, Buffer.from(text)])
}
