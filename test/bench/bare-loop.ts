/**
 * Programs in Node.js that do little more for the same end than what no program can leave out, with the same libraries, to
 * tell what of a ratio is walferry's own. Nothing is parsed, checked, counted, named or taken up again: no tar, no small
 * file, no WAL of a backup, no store. But a checksum is computed of the WAL that is compressed, and what was shipped leaves the
 * spool. Arguments:
 *
 *     standby HOST PORT USER SLOT LSN FILE          for what each read of a stream has brought: one write, one sync, one reply
 *     ship HOST PORT USER SLOT LSN BYTES FOLDER     files of 16 MiB of a stream, each of them compressed in one of two threads
 *     backup HOST PORT USER FOLDER                  a base backup, compressed in a thread, in files of 1 GB of its stream
 *     restore FOLDER INTO                           what `backup` has written, decompressed in two threads
 *
 * What is written is synced, beside what else goes on.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  unlink,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import lz4 from 'lz4-napi'
import xxhash, { type XXHash } from 'xxhash-wasm'
import { replicate, startReplication } from './bare-stream.ts'

const blockBytes = 256 * 1024
const segmentBytes = 16 * 1024 ** 2
const slotBytes = 1024 * 1024
const slotsInFile = 1024
const slotsInSync = 64
const slots = 4

/** What a thread is asked for. It answers each with the same. */
type Job =
  | { readonly kind: 'compress'; readonly path: string; readonly into: string }
  | { readonly kind: 'decompress'; readonly path: string; readonly into: string }
  /** The next bytes of `into`. */
  | {
      readonly kind: 'append'
      readonly slot: SharedArrayBuffer
      readonly bytes: number
      readonly number: number
      readonly into: string
    }

const hashes = await xxhash()

if (isMainThread) begin(process.argv.slice(2))
else
  parentPort?.on('message', (job: Job) => {
    work(job)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    parentPort?.postMessage(job)
  })

function begin([kind, ...rest]: readonly string[]): void {
  if (kind === 'standby') standby(rest)
  else if (kind === 'ship') ship(rest)
  else if (kind === 'backup') backup(rest)
  else if (kind === 'restore') restore(rest)
  else throw new Error(`there is no loop "${kind}"`)
}

function standby([host = '', port = '', user = '', slot = '', lsn = '', path = '']: readonly string[]): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, 1024 ** 3)
  const start = lsnOf(lsn)
  let end = start
  let rest = Buffer.alloc(0)
  const socket = replicate({ host, port, user }, startReplication(slot, lsn), (memory) => {
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

function ship([
  host = '',
  port = '',
  user = '',
  slot = '',
  lsn = '',
  bytes = '',
  folder = '',
]: readonly string[]): void {
  let left = Number(bytes)
  let files = 0
  let compressed = 0
  const threads = [1, 2].map(() =>
    thread((job) => {
      syncFile(job.into, () => {
        if (job.kind !== 'compress') return
        unlink(job.path, (error) => {
          if (error !== null) throw error
          if (++compressed === files && left === 0) process.exit(0)
        })
      })
    }),
  )
  let fd: number | null = null
  let room = 0
  const finish = (file: number, number: number): void => {
    const path = pathOf(folder, number)
    fdatasync(file, (error) => {
      if (error !== null) throw error
      closeSync(file)
      ask(threads[number % threads.length], { kind: 'compress', path, into: `${path}.lz4` })
    })
  }
  replicate({ host, port, user }, startReplication(slot, lsn), (memory) => {
    for (let at = 0; at < memory.length && left > 0; ) {
      if (fd === null) {
        fd = openSync(pathOf(folder, ++files), 'w')
        room = segmentBytes
      }
      const length = Math.min(memory.length - at, room, left)
      writeSync(fd, memory, at, length)
      at += length
      room -= length
      left -= length
      if (room > 0 && left > 0) continue
      finish(fd, files)
      fd = null
    }
  })
}

function backup([host = '', port = '', user = '', folder = '']: readonly string[]): void {
  const free = Array.from({ length: slots }, () => new SharedArrayBuffer(slotBytes))
  let sent = 0
  let isWhole = false
  let syncing = 0
  const sync = (path: string): void => {
    syncing++
    syncFile(path, () => {
      syncing--
      end()
    })
  }
  const end = (): void => {
    if (isWhole && free.length === slots && syncing === 0) process.exit(0)
  }
  const compressor = thread((job) => {
    if (job.kind !== 'append') return
    free.push(job.slot)
    if (free.length >= 2) socket.resume()
    // The last one of a file, or of all: what is synced once more costs nothing.
    if ((job.number + 1) % slotsInSync === 0 || (isWhole && free.length === slots)) sync(job.into)
  })
  let slot = free.pop()
  let filled = 0
  const send = (): void => {
    if (slot === undefined) throw new Error('no slot is free')
    const number = sent++
    ask(compressor, {
      kind: 'append',
      slot,
      bytes: filled,
      number,
      into: pathOf(folder, Math.floor(number / slotsInFile)),
    })
    slot = free.pop()
    filled = 0
    if (free.length === 0) socket.pause()
  }
  const take = (memory: Buffer): void => {
    for (let at = 0; at < memory.length; ) {
      if (slot === undefined) throw new Error('no slot is free')
      const length = Math.min(memory.length - at, slotBytes - filled)
      Buffer.from(slot).set(memory.subarray(at, at + length), filled)
      at += length
      filled += length
      if (filled === slotBytes) send()
    }
  }
  const command = `BASE_BACKUP ( CHECKPOINT 'fast', MANIFEST 'yes' )`
  const socket = replicate({ host, port, user }, command, take, () => {
    isWhole = true
    // It holds the end of the answer at least, unless a read ended just where it was full: then it goes empty.
    send()
    if (slot !== undefined) free.push(slot)
  })
}

function restore([folder = '', into = '']: readonly string[]): void {
  const names = readdirSync(folder)
  let left = names.length
  const threads = [1, 2].map(() =>
    thread(({ into: path }) => {
      syncFile(path, () => {
        if (--left === 0) process.exit(0)
      })
    }),
  )
  for (const [i, name] of names.entries())
    ask(threads[i % threads.length], { kind: 'decompress', path: join(folder, name), into: join(into, name) })
}

function thread(onDone: (job: Job) => void): Worker {
  const worker = new Worker(import.meta.filename)
  worker.on('message', onDone)
  return worker
}

function ask(worker: Worker | undefined, job: Job): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
  worker?.postMessage(job)
}

function pathOf(folder: string, number: number): string {
  return join(folder, String(number))
}

function work(job: Job): void {
  if (job.kind === 'append') append(job.into, Buffer.from(job.slot, 0, job.bytes))
  else if (job.kind === 'compress') compress(job.path, job.into)
  else decompress(job.path, job.into)
}

/** A file of blocks, each with its length before it. */
interface Blocks {
  readonly fd: number
  /** Of a base backup, the manifest has checksums. */
  readonly content: XXHash<number> | null
}

const appended = new Map<string, Blocks>()

function append(into: string, plain: Buffer): void {
  const blocks = appended.get(into) ?? { fd: openSync(into, 'w'), content: null }
  appended.set(into, blocks)
  for (let at = 0; at < plain.length; at += blockBytes) writeBlock(blocks, plain.subarray(at, at + blockBytes))
}

function compress(path: string, into: string): void {
  const from = openSync(path, 'r')
  const to = { fd: openSync(into, 'w'), content: hashes.create32() }
  const memory = Buffer.allocUnsafeSlow(blockBytes)
  for (let bytes = 1; bytes > 0; ) {
    bytes = readSync(from, memory)
    if (bytes > 0) writeBlock(to, memory.subarray(0, bytes))
  }
  closeSync(to.fd)
  closeSync(from)
}

function writeBlock({ fd, content }: Blocks, plain: Buffer): void {
  content?.update(plain)
  const block = lz4.compressSync(plain)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(block.length)
  writeSync(fd, length)
  writeSync(fd, block)
}

function decompress(path: string, into: string): void {
  const from = openSync(path, 'r')
  const to = openSync(into, 'w')
  const length = Buffer.alloc(4)
  const memory = Buffer.allocUnsafeSlow(2 * blockBytes)
  while (readSync(from, length) === length.length) {
    const block = memory.subarray(0, length.readUInt32LE())
    readSync(from, block)
    writeSync(to, lz4.uncompressSync(block))
  }
  closeSync(to)
  closeSync(from)
}

function syncFile(path: string, onSynced: () => void): void {
  const fd = openSync(path, 'r+')
  fdatasync(fd, (error) => {
    if (error !== null) throw error
    closeSync(fd)
    onSynced()
  })
}
