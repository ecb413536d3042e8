/** The file that a server's messages go to, across its starts. */
import { open, stat } from 'node:fs/promises'
import { systemCode } from '../kit/errors.ts'

export class ServerLog {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Its length in bytes: what is written from now on begins there. */
  async size(): Promise<number> {
    try {
      return (await stat(this.path)).size
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return 0
      throw error
    }
  }

  /** What was written from byte `from` on. */
  async read(from = 0): Promise<string> {
    const bytes = (await this.size()) - from
    if (bytes <= 0) return ''
    const file = await open(this.path, 'r')
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, from)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await file.close()
    }
  }

  /** The last lines written from byte `from` on, for an error's text. */
  async tail(from: number, lines = 15): Promise<string> {
    const text = (await this.read(from)).trimEnd()
    return text === '' ? '(its log is empty)' : text.split('\n').slice(-lines).join('\n')
  }
}
