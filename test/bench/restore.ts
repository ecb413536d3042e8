/**
 * restore: a base backup back into a folder, every file checked and synced, against tar and lz4 from a local file, which
 * check nothing, and sync nothing unless they are told to; and beside it pgBackRest, Barman, and what a bare loop in Node.js does.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { backupTools } from './backup-tools.ts'
import { archiveIn, bareBackup, judged, makeData, ourBackup, roomFor, theirBackup } from './data.ts'
import { bareLoop, bareLoopName } from './floor.ts'
import { inTurn, rate } from './in-turn.ts'
import { type Measured, type Program, run } from './measure.ts'
import { withS3 } from './s3.ts'
import type { Bench, Benchmark } from './server.ts'
import { emptied } from './wal.ts'

export const restore: Benchmark = {
  what: 'a base backup back, checked; goal: the rate of tar and lz4 from a local file, below 256 MB',
  run: async (bench) => {
    const bytes = await makeData(bench)
    await emptied(bench, 'archive', 'base')
    await run(ourBackup(bench, archiveIn(bench)))
    const tar = join(bench.folder, 'base', 'tar')
    const theirs = bench.peers.lz4 === undefined ? null : theirBackup(bench, tar)
    if (theirs !== null) await run(theirs)
    const tools = await backupTools(bench)
    for (const tool of tools) await tool.backUp()
    const bareFolder = join(bench.folder, 'bare')
    await emptied(bench, 'bare')
    const bare = bareBackup(bench, bareFolder)
    if (bare !== null) await run(bare)
    return await withS3({ roomBytes: roomFor(bytes) }, async (s3) => {
      await run({ ...ourBackup(bench, s3.args), env: s3.env })
      const target = join(bench.folder, 'target', 'data')
      const unpack = `mkdir ${target} && lz4 -dc ${join(tar, 'base.tar.lz4')} | tar -x -C ${target}`
      const sync = `find ${target} -type f -exec sync {} +`
      const peers = [
        { name: 'tar and lz4', once: () => run(shell(unpack)) },
        { name: 'tar and lz4, then synced', once: () => run(shell(`${unpack} && ${sync}`)) },
      ]
      const sides: { name: string; once: () => Promise<Measured> }[] = [
        ...(theirs === null ? [] : peers),
        ...tools.map(({ name, restoreInto }) => ({
          name,
          once: () => restoreInto(join(bench.folder, 'target')),
        })),
        ...(bare === null ? [] : [{ name: bareLoopName, once: () => run(bareRestore(bareFolder, target)) }]),
        { name: 'walferry restore, a folder', once: () => run(ours(bench, target, archiveIn(bench), {})) },
        { name: 'walferry restore, S3 on loopback', once: () => run(ours(bench, target, s3.args, s3.env)) },
      ]
      const found = await inTurn(bench, sides, async ({ once }) => {
        await emptied(bench, 'target')
        return await once()
      })
      return sides.map(({ name }) => judged(rate(name, found(name), bytes), theirs !== null))
    })
  },
}

function ours(bench: Bench, target: string, store: readonly string[], env: Readonly<Record<string, string>>): Program {
  return { file: bench.walferry, args: ['restore', target, ...store, '--log-level', 'error'], env }
}

function bareRestore(from: string, target: string): Program {
  mkdirSync(target)
  return bareLoop('restore', from, target)
}

function shell(command: string): Program {
  return { file: 'sh', args: ['-c', command] }
}
