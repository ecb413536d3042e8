/** Steps in between a spool and its disk. */
import { type FileHandle, open } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import { LoopWrites } from '../../src/spool/loop-writes.ts'
import { SegmentFile } from '../../src/spool/segment-file.ts'

type Call = 'write' | 'sync' | 'becomeWhole'

/** Called instead of a call to the disk; `real` makes it. */
export type Step = (file: SegmentFile, real: () => Promise<void>) => Promise<void>

/** Steps in before all calls of one kind, until the test ends or the result is called. None is then made in the event loop, but for little writes. */
export function stepIn(t: TestContext, call: Call, step: Step): () => void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/unbound-method -- all three fit; called with its file below
  const real = SegmentFile.prototype[call] as (this: SegmentFile, ...args: unknown[]) => Promise<void>
  const mocked = t.mock.method(SegmentFile.prototype, call, async function (this: SegmentFile, ...args: unknown[]) {
    await step(this, () => real.apply(this, args))
  })
  const inLoop = {
    write: () => t.mock.method(LoopWrites.prototype, 'areQuick', () => false),
    sync: () => t.mock.method(SegmentFile.prototype, 'syncNow', () => false),
    becomeWhole: () => null,
  }[call]()
  return () => {
    mocked.mock.restore()
    inLoop?.mock.restore()
  }
}

/** Called instead of each sync of a folder, until the test ends or the result is called. */
export async function stepIntoFolderSync(
  t: TestContext,
  step: (real: () => Promise<void>) => Promise<void>,
): Promise<() => void> {
  const handle = await open(import.meta.dirname, 'r')
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the class of file handles has no name that can be imported
  const handles = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  // oxlint-disable-next-line typescript/unbound-method -- called with its handle below
  const real = handles.sync
  const mocked = t.mock.method(handles, 'sync', async function (this: FileHandle) {
    await step(() => real.call(this))
  })
  return () => mocked.mock.restore()
}

export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}

/** All is written in the event loop at once, however busy the machine is. */
export function writeInLoop(t: TestContext): void {
  t.mock.method(LoopWrites.prototype, 'areQuick', () => true)
  t.mock.method(LoopWrites.prototype, 'tried', (write: () => void) => {
    write()
    return true
  })
}
