/** An ordinary connection, for questions that a replication connection does not take. Values come as text. */
import { runCommand, show } from './commands.ts'
import { connect } from './connect.ts'
import type { Session } from './session.ts'
import type { Target } from './target.ts'

/** A row by the names of its fields. */
export type SqlRow = Readonly<Record<string, string | null>>

export class SqlClient {
  /** The host that it is connected to, of those of the target: `a.example:5432`. */
  readonly host: string
  /** `TLSv1.3`, or null for plain text. */
  readonly tlsVersion: string | null
  readonly #session: Session

  private constructor(session: Session) {
    this.#session = session
    this.host = session.host
    this.tlsVersion = session.tlsVersion
  }

  /** As ReplicationClient.connect, to the target's database. */
  static async connect(target: Target, signal: AbortSignal): Promise<SqlClient> {
    return new SqlClient(await connect(target, { replication: false }, signal))
  }

  /** The value of a setting, as the server writes it. */
  async show(setting: string, signal: AbortSignal): Promise<string> {
    return await show(this.#session, setting, signal)
  }

  /** The rows of one query. `doing` is a verb phrase for errors. */
  async rows(sql: string, doing: string, signal: AbortSignal): Promise<SqlRow[]> {
    const result = await runCommand(this.#session, sql, doing, signal)
    if (result === null) return []
    const { fields } = result
    return result.rows.map((row) => Object.fromEntries(fields.map((field, i) => [field, row[i]?.toString() ?? null])))
  }

  /** Ends the connection; never rejects. */
  async close(): Promise<void> {
    await this.#session.close()
  }
}
