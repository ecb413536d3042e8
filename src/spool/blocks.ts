/**
 * Memory in which bytes of a stream gather until they are written, and which is used again then. Fresh memory for each
 * read of a socket would cost more than the copy into this.
 */

/** A write takes a few of them at once. */
const blockBytes = 256 * 1024

export class Block {
  readonly #memory = Buffer.allocUnsafeSlow(blockBytes)
  #used = 0

  get isFull(): boolean {
    return this.#used === blockBytes
  }

  /** What is in it. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#used)
  }

  /** Takes as much of `bytes` as there is room for, and says how much that was. */
  fill(bytes: Buffer): number {
    const taken = bytes.copy(this.#memory, this.#used)
    this.#used += taken
    return taken
  }

  clear(): void {
    this.#used = 0
  }
}

/** Blocks that nobody uses at the moment: as many as were needed at once, which is bounded by who takes them. */
export class Blocks {
  readonly #free: Block[] = []

  take(): Block {
    return this.#free.pop() ?? new Block()
  }

  giveBack(blocks: readonly Block[]): void {
    for (const block of blocks) block.clear()
    this.#free.push(...blocks)
  }
}
