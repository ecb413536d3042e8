/**
 * `walferry fetch` as bin/walferry starts it: with every segment of a recovery, so it is bundled apart from all other
 * commands. The command line is that of main.ts, which is asked where help is wanted.
 */
import { runFetch } from './fetch.ts'

process.exitCode = await runFetch(process.argv.slice(3))
