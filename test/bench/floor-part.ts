/**
 * One part of what walferry does, without the rest of it. Arguments:
 *
 *     receive HOST PORT USER SLOT LSN BYTES [FILE]   reads a stream, and throws it away, or writes it to a file, unsynced
 *     compress FILE                                  in blocks, into FILE.blocks: each with its length before it
 *     decompress FILE.blocks                         throws away what comes out
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import lz4 from 'lz4-napi'
import { replicate, startReplication } from './bare-stream.ts'

const blockBytes = 256 * 1024

const [kind, file = '', ...rest] = process.argv.slice(2)
if (kind === 'receive') receive(file, ...rest)
else if (kind === 'compress') await compress(file)
else if (kind === 'decompress') await decompress(file)
else throw new Error(`there is no part "${kind}"`)

/** A turn of the event loop behind each block lets go of its memory. */
async function compress(path: string): Promise<void> {
  const from = openSync(path, 'r')
  const to = openSync(`${path}.blocks`, 'w')
  const memory = Buffer.allocUnsafeSlow(blockBytes)
  const length = Buffer.alloc(4)
  for (let bytes = readSync(from, memory); bytes > 0; bytes = readSync(from, memory)) {
    const block = lz4.compressSync(memory.subarray(0, bytes))
    length.writeUInt32LE(block.length)
    writeSync(to, length)
    writeSync(to, block)
    await nextTurn()
  }
  closeSync(to)
  closeSync(from)
}

async function decompress(path: string): Promise<void> {
  const from = openSync(path, 'r')
  const length = Buffer.alloc(4)
  const memory = Buffer.allocUnsafeSlow(2 * blockBytes)
  while (readSync(from, length) === length.length) {
    const block = memory.subarray(0, length.readUInt32LE())
    readSync(from, block)
    lz4.uncompressSync(block)
    await nextTurn()
  }
  closeSync(from)
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
