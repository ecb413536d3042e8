/** One command of the replication protocol, or one query, and its answer, on a session that is open. */
import { withDeadline } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { Exchange, type ResultSet } from './exchange.ts'
import { serverError } from './server-errors.ts'
import type { Session } from './session.ts'

/** A command, not a stream, that takes longer than this has met a hung server. */
const deadlineMs = 30_000

/** A row by the names of its fields. */
export type Row = Readonly<Record<string, Buffer | null>>

/** Runs one command to its end. `doing` is a verb phrase for errors. An abort breaks the connection. */
export async function runCommand(
  session: Session,
  text: string,
  doing: string,
  signal: AbortSignal,
): Promise<ResultSet | null> {
  const exchange = new Exchange(text)
  const onAbort = (): void => session.connection.cut(new Error('given up'))
  const late = (): Error =>
    new WalferryError('PG_CONNECTION_LOST', `cannot ${doing}: no answer within ${deadlineMs / 1000} s`, {
      retryable: true,
    })
  return await withDeadline(deadlineMs, signal, late, async (inner) => {
    inner.addEventListener('abort', onAbort, { once: true })
    try {
      session.client.query(exchange)
      await exchange.done
      return exchange.results[0] ?? null
    } catch (error) {
      throw serverError(error, `${doing} (${session.host})`)
    } finally {
      inner.removeEventListener('abort', onAbort)
    }
  })
}

/** The same for a command that answers with one row. */
export async function askRow(session: Session, command: string, doing: string, signal: AbortSignal): Promise<Row> {
  const result = await runCommand(session, command, doing, signal)
  if (result === null) throw protocolError(`${command} answered no row`)
  return onlyRow(result)
}

/** The value of a setting, as the server writes it. */
export async function show(session: Session, setting: string, signal: AbortSignal): Promise<string> {
  return need(await askRow(session, `SHOW ${setting}`, `read the setting ${setting}`, signal), setting)
}

export function onlyRow(result: ResultSet): Row {
  const [row] = result.rows
  if (row === undefined || result.rows.length !== 1) {
    throw protocolError(`${result.rows.length} rows came where one was due`)
  }
  return Object.fromEntries(result.fields.map((field, i) => [field, row[i] ?? null]))
}

export function textOf(row: Row, field: string): string | null {
  return row[field]?.toString() ?? null
}

/** The text of a field that is never null. */
export function need(row: Row, field: string): string {
  const text = textOf(row, field)
  if (text === null) throw protocolError(`the field ${field} is missing`)
  return text
}

export function protocolError(message: string): WalferryError {
  return new WalferryError('PG_PROTOCOL', `the server's answer cannot be used: ${message}`)
}
