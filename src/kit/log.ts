/**
 * What a room may say. ERROR: somebody must act. WARN: worth knowing, mends itself or loses nothing. INFO: the few
 * steps of a normal life. Fields are operands, never secrets.
 */
export interface Log {
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
}
