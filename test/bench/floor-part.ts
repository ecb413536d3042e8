/**
 * One part of what walferry does, without the rest of it. Arguments:
 *
 *     receive HOST PORT USER SLOT LSN BYTES [FILE]   reads a stream, and throws it away, or writes it to a file, unsynced
 *     compress FILE                                  in blocks, into FILE.blocks: each with its length before it
 *     decompress FILE.blocks                         throws away what comes out
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import lz4 from 'lz4-napi'

const blockBytes = 256 * 1024
const readBytes = 256 * 1024
const protocol = 196_608 // 3.0

const [kind, file = '', ...rest] = process.argv.slice(2)
if (kind === 'receive') receive(file, ...rest)
else if (kind === 'compress') compress(file)
else if (kind === 'decompress') decompress(file)
else throw new Error(`there is no part "${kind}"`)

function compress(path: string): void {
  const plain = readFileSync(path)
  const fd = openSync(`${path}.blocks`, 'w')
  for (let at = 0; at < plain.length; at += blockBytes) {
    const block = lz4.compressSync(plain.subarray(at, at + blockBytes))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(block.length)
    writeSync(fd, length)
    writeSync(fd, block)
  }
  closeSync(fd)
}

function decompress(path: string): void {
  const blocks = readFileSync(path)
  for (let at = 0; at < blocks.length; ) {
    const end = at + 4 + blocks.readUInt32LE(at)
    lz4.uncompressSync(blocks.subarray(at + 4, end))
    at = end
  }
}

/** The least that a client can do: nothing of the stream is looked at. */
function receive(host: string, port = '', user = '', slot = '', lsn = '', bytes = '', path?: string): void {
  const fd = path === undefined ? null : openSync(path, 'w')
  const memory = Buffer.allocUnsafeSlow(readBytes)
  let got = 0
  let isStreaming = false
  const take = (length: number): boolean => {
    if (got === 0 && memory[0] === 0x45) throw new Error(`the server refused: ${memory.toString('utf8', 5, length)}`)
    if (isStreaming) {
      if (fd !== null) writeSync(fd, memory, 0, length)
      got += length
      if (got >= Number(bytes)) process.exit(0)
    } else if (memory[length - 6] === 0x5a) {
      // ReadyForQuery, the last message before the first command.
      isStreaming = true
      socket.write(message('Q', `START_REPLICATION SLOT ${slot} PHYSICAL ${lsn}\0`))
    }
    return true
  }
  const socket = new Socket({ onread: { buffer: memory, callback: take } } as object)
  socket.on('error', (error) => {
    throw error
  })
  const settings = `user\0${user}\0replication\0true\0\0`
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + settings.length)
  head.writeInt32BE(protocol, 4)
  socket.connect(Number(port), host, () => socket.write(Buffer.concat([head, Buffer.from(settings)])))
}

function message(type: string, text: string): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + text.length, 1)
  return Buffer.concat([head, Buffer.from(text)])
}
