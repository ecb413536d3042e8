/**
 * The values of a DataRow message, as the bytes that the server sent: a history file may hold what is no UTF-8, because
 * the name of a restore point is written into it as it was typed.
 *
 * After the head (type `D` and length) come an int16 count, and for each value an int32 length (-1: null) and the bytes
 * (documentation, section "Message Formats").
 */
import { WalferryError } from '../kit/errors.ts'

export const dataRowType = 0x44
const headBytes = 5

/** @param message whole, with its head. Throws PG_PROTOCOL if the values do not fill it exactly. */
export function valuesOf(message: Buffer): (Buffer | null)[] {
  const values: (Buffer | null)[] = []
  let at = headBytes + 2
  if (message.length < at) throw cutShort()
  for (let left = message.readUInt16BE(headBytes); left > 0; left--) {
    if (message.length < at + 4) throw cutShort()
    const length = message.readInt32BE(at)
    at += 4
    if (length >= 0) values.push(message.subarray(at, (at += length)))
    else values.push(null)
  }
  if (at !== message.length) throw cutShort()
  return values
}

function cutShort(): WalferryError {
  return new WalferryError('PG_PROTOCOL', 'a row from the server does not end where its message ends')
}
