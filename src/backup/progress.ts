/** How far a base backup has come, for whoever shows it. */
export type Phase =
  /** The server makes its checkpoint. */
  | 'checkpoint'
  | 'copying'
  /** All files are stored; their WAL is waited for. */
  | 'wal'

export interface Progress {
  readonly phase: Phase
  /** Bytes of the server's tar archives that have come. */
  readonly bytes: number
  /** What the server guessed; never less than has come. 0 before it has. */
  readonly totalBytes: number
}

export type OnProgress = (progress: Progress) => void
