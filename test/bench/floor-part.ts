/**
 * One part of what walferry does, without the rest of it. Arguments:
 *
 *     receive HOST PORT USER SLOT LSN BYTES [FILE]   reads a stream, and throws it away, or writes it to a file, unsynced
 *     standby HOST PORT USER SLOT LSN FILE           reads a stream, and for what each read has brought: one write, one sync,
 *                                                    one reply; until it is stopped
 *     compress FILE                                  in blocks, into FILE.blocks: each with its length before it
 *     decompress FILE.blocks                         throws away what comes out
 */
import { closeSync, fdatasyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import lz4 from 'lz4-napi'

const blockBytes = 256 * 1024
const readBytes = 256 * 1024
const protocol = 196_608 // 3.0

const [kind, file = '', ...rest] = process.argv.slice(2)
if (kind === 'receive') receive(file, ...rest)
else if (kind === 'standby') standby(file, ...rest)
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
  let got = 0
  stream([host, port, user, slot, lsn], (memory) => {
    if (fd !== null) writeSync(fd, memory)
    got += memory.length
    if (got >= Number(bytes)) process.exit(0)
  })
}

/** The least that a standby can do whose reply a commit waits for. */
function standby(host: string, port = '', user = '', slot = '', lsn = '', path = ''): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, 1024 ** 3)
  const start = lsnOf(lsn)
  let end = start
  let rest = Buffer.alloc(0)
  const socket = stream([host, port, user, slot, lsn], (memory) => {
    const bytes = rest.length === 0 ? memory : Buffer.concat([rest, memory])
    const wal: Buffer[] = []
    let at = 0
    for (let to = at + 5; to <= bytes.length; to = at + 5) {
      to = at + 1 + bytes.readInt32BE(at + 1)
      if (to > bytes.length) break
      // CopyData with XLogData; all else is passed over.
      if (bytes[at] === 0x64 && bytes[at + 5] === 0x77) wal.push(bytes.subarray(at + 30, to))
      at = to
    }
    rest = Buffer.from(bytes.subarray(at))
    if (wal.length === 0) return
    const written = wal.length === 1 && wal[0] !== undefined ? wal[0] : Buffer.concat(wal)
    writeSync(fd, written, 0, written.length, Number(end - start))
    fdatasyncSync(fd)
    end += BigInt(written.length)
    reply()
  })
  const status = Buffer.alloc(39)
  status.write('d')
  status.writeInt32BE(38, 1)
  status.write('r', 5)
  const reply = (): void => {
    for (const place of [6, 14, 22]) status.writeBigUInt64BE(end, place)
    socket.write(Buffer.from(status))
  }
  setInterval(reply, 1000)
}

function lsnOf(text: string): bigint {
  const [high = '', low = ''] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** Calls `take` with what each read of a physical replication stream brings, which is gone with the next one. */
function stream([host = '', port, user, slot, lsn]: readonly string[], take: (bytes: Buffer) => void): Socket {
  const memory = Buffer.allocUnsafeSlow(readBytes)
  let isStreaming = false
  let isHeard = false
  const heard = (length: number): boolean => {
    const bytes = memory.subarray(0, length)
    if (!isHeard && memory[0] === 0x45) throw new Error(`the server refused: ${bytes.toString('utf8', 5)}`)
    if (isStreaming) {
      isHeard = true
      take(bytes)
    } else if (memory[length - 6] === 0x5a) {
      // ReadyForQuery, the last message before the first command.
      isStreaming = true
      socket.write(message('Q', `START_REPLICATION SLOT ${slot} PHYSICAL ${lsn}\0`))
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

function message(type: string, text: string): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + text.length, 1)
  return Buffer.concat([head, Buffer.from(text)])
}
