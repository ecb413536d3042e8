/** A replication connection of which nothing is looked at: the least that a client in Node.js can do. */
import { Socket } from 'node:net'

const readBytes = 256 * 1024
const protocol = 196_608 // 3.0
const ready = Buffer.from('5a0000000549', 'hex')
const readyBytes = ready.length

export interface Place {
  readonly host: string
  readonly port: string
  readonly user: string
}

export function startReplication(slot: string, lsn: string): string {
  return `START_REPLICATION SLOT ${slot} PHYSICAL ${lsn}`
}

/**
 * Calls `take` with what each read brings of the answer to `command`, which is gone with the next one, and `end` when the
 * answer has an end and is there. Throws where the server refuses, or goes away before.
 */
export function replicate(
  { host, port, user }: Place,
  command: string,
  take: (bytes: Buffer) => void,
  end: () => void = () => undefined,
): Socket {
  const memory = Buffer.allocUnsafeSlow(readBytes)
  let last: Buffer = Buffer.alloc(0)
  let isAsked = false
  let isHeard = false
  const heard = (length: number): boolean => {
    const bytes = memory.subarray(0, length)
    if (!isHeard && memory[0] === 0x45) throw new Error(`the server refused: ${bytes.toString('utf8', 5)}`)
    last = Buffer.concat([last, bytes.subarray(-readyBytes)]).subarray(-readyBytes)
    if (isAsked) {
      isHeard = true
      take(bytes)
    }
    if (!isReady(last)) return true
    if (isAsked) end()
    else socket.write(message('Q', `${command}\0`))
    isAsked = true
    return true
  }
  const socket = new Socket({ onread: { buffer: memory, callback: heard } } as object)
  socket.on('error', (error) => {
    throw error
  })
  // Who has enough ends the process.
  socket.on('close', () => {
    throw new Error('the server has closed the connection')
  })
  const settings = `user\0${user}\0replication\0true\0\0`
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + settings.length)
  head.writeInt32BE(protocol, 4)
  socket.setNoDelay()
  socket.connect(Number(port), host, () => socket.write(Buffer.concat([head, Buffer.from(settings)])))
  return socket
}

/** ReadyForQuery, outside of a transaction: before the first command, and behind one that has an end. */
function isReady(bytes: Buffer): boolean {
  return bytes.equals(ready)
}

function message(type: string, text: string): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + text.length, 1)
  return Buffer.concat([head, Buffer.from(text)])
}
