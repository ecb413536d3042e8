/**
 * One simple query on a WireConnection, from Query to ReadyForQuery, as an object that pg.Client can run. Also carries
 * a CopyBoth stream that the query may open (START_REPLICATION), or the CopyOut streams of one that only sends
 * (BASE_BACKUP).
 *
 * pg.Client does not forward replicationStart, copyOutResponse and copyDone, so we listen on the connection itself; and
 * it does not call handleReadyForQuery after an ErrorResponse, so an error ends the exchange.
 */
import type { Connection, FieldDef } from 'pg'
import type { CopySink } from './framing.ts'
import { WireConnection } from './wire-connection.ts'

/** The rows of one statement, as the bytes that the server sent. */
export interface ResultSet {
  readonly fields: readonly string[]
  readonly rows: (readonly (Buffer | null)[])[]
}

/** Takes the CopyOut streams of a query, one after the other. What it throws breaks the connection. */
export interface CopyOut {
  /** A stream begins. Its data goes to what is returned. */
  begins(): CopySink
  ends(): void
}

export class Exchange {
  readonly results: ResultSet[] = []
  /** Command tags, in order. `COPY 0` and then the end of the connection: the server shuts down. */
  readonly tags: string[] = []
  /** Resolves at ReadyForQuery; rejects with the server's error or the connection's. */
  readonly done: Promise<this>
  #resolve: (value: this) => void = () => undefined
  #reject: (error: Error) => void = () => undefined
  readonly #text: string
  readonly #sink: CopySink | null
  readonly #onStream: (() => void) | null
  readonly #copyOut: CopyOut | null
  #connection: WireConnection | null = null
  #doneSent = false
  #isCopyingOut = false

  /**
   * @param stream where the CopyBoth stream goes, if the query opens one; `onStream` is called when it does.
   * @param copyOut takes CopyOut streams, if the query opens any.
   */
  constructor(text: string, stream: { sink: CopySink; onStream: () => void } | null = null, copyOut?: CopyOut) {
    this.#text = text
    this.#sink = stream?.sink ?? null
    this.#onStream = stream?.onStream ?? null
    this.#copyOut = copyOut ?? null
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Sends CopyDone, once. The server answers with its own, the results, and ReadyForQuery. */
  stop(): void {
    if (this.#doneSent || this.#connection === null) return
    this.#doneSent = true
    this.#connection.sendCopyDone()
  }

  // What follows is called by pg.Client.

  submit(connection: Connection): void {
    if (!(connection instanceof WireConnection)) throw new TypeError('an Exchange runs on a WireConnection')
    this.#connection = connection
    connection.on('replicationStart', this.#streamBegins)
    connection.on('copyOutResponse', this.#copyOutBegins)
    connection.on('copyDone', this.#streamEnds)
    connection.query(this.#text)
  }

  handleRowDescription(message: { fields: FieldDef[] }): void {
    this.results.push({ fields: message.fields.map((field) => field.name), rows: [] })
  }

  handleDataRow(message: { fields: (Buffer | null)[] }): void {
    this.results.at(-1)?.rows.push(message.fields)
  }

  handleCommandComplete(message: { text: string }): void {
    this.tags.push(message.text)
  }

  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyData(): void {}

  handleCopyInResponse(connection: { sendCopyFail(reason: string): void }): void {
    connection.sendCopyFail('no data to copy')
  }

  handleReadyForQuery(): void {
    this.#detach()
    this.#resolve(this)
  }

  handleError(error: Error): void {
    this.#detach()
    this.#reject(error)
  }

  readonly #streamBegins = (): void => {
    if (this.#connection === null) return
    this.#connection.sink = this.#sink
    this.#onStream?.()
  }

  readonly #copyOutBegins = (): void => {
    if (this.#connection === null || this.#copyOut === null) return
    this.#isCopyingOut = true
    this.#connection.sink = this.#copyOut.begins()
  }

  readonly #streamEnds = (): void => {
    if (this.#isCopyingOut) {
      // One way only: the server wants no answer.
      this.#isCopyingOut = false
      this.#copyOut?.ends()
    } else this.stop()
    if (this.#connection !== null) this.#connection.sink = null
  }

  #detach(): void {
    const connection = this.#connection
    if (connection === null) return
    connection.sink = null
    connection.off('replicationStart', this.#streamBegins)
    connection.off('copyOutResponse', this.#copyOutBegins)
    connection.off('copyDone', this.#streamEnds)
  }
}
