/**
 * The background process of `fetch`, which fetch-ahead.ts starts: prefetch-main.js SEGMENT_BYTES NAME DEST [options]. It says
 * nothing to anybody. It ends by itself, when its folder is taken away at the latest.
 */
import { rmdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { prefetchFolder } from '../restore/prefetch-folder.ts'
import { prefetch } from '../restore/prefetch.ts'
import { readFetchArguments } from './fetch-arguments.ts'
import { openArchive } from './open-store.ts'

const idleMs = 60_000

const [segmentBytes, ...args] = process.argv.slice(2)
const { dest: relative, config } = await readFetchArguments(args)
const dest = resolve(relative)
const folder = prefetchFolder(dest)
const archive = await openArchive(config)
// From here on "." is the folder, also when another one has its name.
process.chdir(folder)
try {
  await prefetch({
    archive,
    folder: '.',
    key: process.env['_WALFERRY_PREFETCH_FOR'] ?? '',
    dest,
    segmentBytes: Number(segmentBytes),
    segments: config.prefetch,
    idleMs,
  })
} finally {
  archive.store.close()
  await removeOwnFolder().catch(() => undefined)
}

/** Wherever it was moved to: who did that may have been unable to remove it while we wrote there. */
async function removeOwnFolder(): Promise<void> {
  process.chdir('.') // else Node.js says where it was
  await rmdir(process.cwd())
}
