/** Tar archives as PostgreSQL sends them, made with the fields of its tarCreateHeader. */
import { archiveEnd, blockBytes } from '../../src/archive/tar-header.ts'

export interface MadeMember {
  readonly name: string
  readonly content?: Buffer
  /** Default: a file. */
  readonly type?: string
}

export function madeHeader({ name, content = Buffer.alloc(0), type = '0' }: MadeMember): Buffer {
  const header = Buffer.alloc(blockBytes)
  header.write(name, 0)
  header.write('0000600\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${content.length.toString(8).padStart(11, '0')} `, 124)
  header.write(`${(1_700_000_000).toString(8)} `, 136)
  header.write(type, 156)
  header.write('ustar\0', 257)
  header.write('00', 263)
  return summed(header)
}

/** Gives a header that was changed its right sum. */
export function summed(header: Buffer): Buffer {
  header.fill(0x20, 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

/** @param ends whether it has its two last blocks, as from 15 on. */
export function madeTar(members: readonly MadeMember[], ends: boolean): Buffer {
  const blocks = members.flatMap((member) => {
    const content = member.content ?? Buffer.alloc(0)
    return [madeHeader(member), content, Buffer.alloc(-content.length & (blockBytes - 1))]
  })
  return Buffer.concat(ends ? [...blocks, archiveEnd] : blocks)
}
