/**
 * Copies bytes to `target[at]`, where either may be memory that two threads see, one at a time. By `fill`, which for bytes
 * as long as their place is a plain copy (13 GB/s): `set` and `copy` go through shared memory byte by byte unless all is
 * aligned (2 GB/s), because another thread might look on. The two must not overlap.
 */
export function copyInto(target: Buffer, at: number, bytes: Uint8Array): void {
  if (bytes.length > 0) target.fill(bytes, at, at + bytes.length)
}
