/**
 * The command line. `fetch` starts with every segment of a recovery and `push` with every one that is archived, so they
 * are recognized before anything else is loaded; the other commands go through yargs.
 *
 * Exit codes: 0 done; 1 an error, told on standard error; 126 there is no such command or flag (not 1, because
 * PostgreSQL would take that from a mistyped restore_command for the end of WAL). Those of `fetch` stand in restore/exit-codes.ts,
 * those of `push` in push.ts.
 */
import { report } from './report.ts'

const [command, ...rest] = process.argv.slice(2)

try {
  if (command === 'fetch' && !rest.includes('--help')) {
    const { runFetch } = await import('./fetch.ts')
    process.exitCode = await runFetch(rest)
  } else if (command === 'push' && rest[0] !== '--help') {
    const { runPush } = await import('./push.ts')
    process.exitCode = await runPush(rest)
  } else {
    const { runCommand } = await import('./commands.ts')
    process.exitCode = await runCommand(process.argv.slice(2))
  }
} catch (error) {
  report(error, process.env['WALFERRY_LOG_LEVEL'] === 'debug')
  process.exitCode = 1
}
