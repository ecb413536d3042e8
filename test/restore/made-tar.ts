/** Tar files as a test wants them. */
import { type Header, pack } from 'tar-stream'

export interface TarMember {
  readonly header: Pick<Header, 'name'> & Partial<Header>
  readonly content: Buffer
}

/** A tar file of these members, with its end blocks. */
export async function packTar(members: readonly TarMember[]): Promise<Buffer> {
  const tar = pack()
  for (const { header, content } of members) tar.entry({ ...header, size: content.length }, content)
  tar.finalize()
  return await buffered(tar)
}

async function buffered(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of stream) if (piece instanceof Uint8Array) pieces.push(piece)
  return Buffer.concat(pieces)
}
