/**
 * The S3 server of the tests in a process of its own, asked over IPC (s3.ts). Arguments: its latency in ms, and how many bytes
 * it has room for. It is on the same two cores as what is measured, where no store of a user's is: so it computes no sums,
 * and has its memory beforehand.
 */
import { collectBehind } from '../../src/kit/garbage.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { segmentKey } from '../../src/archive/keys.ts'
import { startS3Server } from '../support/s3-server.ts'
import type { S3Answer, S3Question } from './s3.ts'

const [latencyMs = 0, roomBytes = 0] = process.argv.slice(2).map(Number)
// Touched here: a machine whose host takes free memory back needs up to 4 CPU s to touch a GB.
const room = Buffer.alloc(roomBytes, 1)
let usedBytes = 0
const server = await startS3Server({ bucket: 'bench', believes: true, allocate })
if (latencyMs > 0) server.inject({ kind: 'slow', latencyMs })

/** A body is copied here: what it came in is garbage then. */
function allocate(bytes: number): Buffer {
  collectBehind(bytes)
  if (bytes > room.length - usedBytes) return Buffer.allocUnsafeSlow(bytes)
  usedBytes += bytes
  return room.subarray(usedBytes - bytes, usedBytes)
}

function answer(question: S3Question): S3Answer {
  if (question.ask === 'fill') {
    const { from, count, segmentBytes, prefix } = question
    const object = server.objects.set('filler', 'a segment that nobody reads')
    server.objects.delete('filler')
    for (let segno = from; segno < from + count; segno++) {
      server.objects.store(prefix + segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'lz4'), object)
    }
    // In order once, before anybody waits for it.
    server.objects.keys()
  }
  if (question.ask === 'empty') {
    server.objects.clear()
    usedBytes = 0
  }
  const requests: Record<string, number> = {}
  for (const { operation } of server.log) requests[operation] = (requests[operation] ?? 0) + 1
  const { user, system } = process.cpuUsage()
  return {
    endpoint: server.endpoint,
    environment: server.environment,
    requests,
    receivedBytes: server.receivedBytes,
    objects: server.objects.size,
    cpuSeconds: (user + system) / 1e6,
    stored:
      question.ask === 'stored'
        ? server.log
            .filter(
              ({ operation, status }) => status === 200 && /^(PutObject|CompleteMultipartUpload)$/.test(operation),
            )
            .map(({ key, atMs }) => ({ key, atMs }))
        : [],
  }
}

process.on('message', (question: S3Question) => {
  process.send?.(answer(question))
})
// With the channel goes the reason to be there.
process.on('disconnect', () => process.exit(0))
