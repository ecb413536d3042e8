/**
 * One part of what walferry does, without the rest of it. Arguments:
 *
 *     receive HOST PORT USER SLOT LSN BYTES [FILE]   reads a stream, and throws it away, or writes it to a file, unsynced
 *     compress FILE                                  in blocks, into FILE.blocks: each with its length before it
 *     decompress FILE.blocks                         throws away what comes out
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import lz4 from 'lz4-napi'
import { replicate, startReplication } from './bare-stream.ts'

const blockBytes = 256 * 1024

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
  let got = 0
  replicate({ host, port, user }, startReplication(slot, lsn), (memory) => {
    if (fd !== null) writeSync(fd, memory)
    got += memory.length
    if (got >= Number(bytes)) process.exit(0)
  })
}
