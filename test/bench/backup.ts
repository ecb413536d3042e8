/**
 * backup: a base backup with its WAL into the store, against pg_basebackup with the same compression into a folder; and beside
 * it pgBackRest, Barman, and what a bare loop in Node.js does.
 */
import { join } from 'node:path'
import { backupTools } from './backup-tools.ts'
import { archiveIn, bareBackup, judged, makeData, ourBackup, roomFor, theirBackup } from './data.ts'
import { bareLoopName } from './floor.ts'
import { inTurn, rate } from './in-turn.ts'
import { type Measured, run } from './measure.ts'
import { withS3 } from './s3.ts'
import type { Benchmark } from './server.ts'
import { emptied } from './wal.ts'

export const backup: Benchmark = {
  what: "a base backup into the store; goal: pg_basebackup's rate with the same compression, below 256 MB",
  run: async (bench) => {
    const bytes = await makeData(bench)
    const theirs = theirBackup(bench, join(bench.folder, 'target', 'base'))
    const peer = theirs === null ? [] : [{ name: 'pg_basebackup --compress=client-lz4', once: () => run(theirs) }]
    const tools = await backupTools(bench)
    const bare = bareBackup(bench, join(bench.folder, 'target'))
    return await withS3({ roomBytes: roomFor(bytes) }, async (s3) => {
      const sides: { name: string; once: () => Promise<Measured> }[] = [
        ...peer,
        ...tools.map(({ name, backUp }) => ({ name, once: backUp })),
        ...(bare === null ? [] : [{ name: bareLoopName, once: () => run(bare) }]),
        { name: 'walferry backup, a folder', once: () => run(ourBackup(bench, archiveIn(bench))) },
        {
          name: 'walferry backup, S3 on loopback',
          once: () => run({ ...ourBackup(bench, s3.args), env: s3.env }),
        },
      ]
      const found = await inTurn(bench, sides, async ({ once }) => {
        await emptied(bench, 'target', 'archive')
        for (const tool of tools) await tool.forget()
        await s3.ask({ ask: 'empty' })
        return await once()
      })
      return sides.map(({ name }) => judged(rate(name, found(name), bytes), theirs !== null))
    })
  },
}
