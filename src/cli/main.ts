/**
 * The command line.
 *
 * Exit codes: 0 done; 1 an error, told on standard error; 126 there is no such command (not 1, because PostgreSQL would
 * take that from a mistyped restore_command for the end of WAL). Those of `fetch` stand in restore/exit-codes.ts,
 * those of `push` in push.ts.
 */
import { runCommand } from './commands.ts'
import { report } from './report.ts'

try {
  process.exitCode = await runCommand(process.argv.slice(2))
} catch (error) {
  report(error, process.env['WALFERRY_LOG_LEVEL'] === 'debug')
  process.exitCode = 1
}
