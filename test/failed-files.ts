import type { TestEvent } from 'node:test/reporters'

/** A reporter: the files of the tests that fail, a line each time. */
export default async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string, void> {
  for await (const event of events) {
    if (event.type === 'test:fail' && event.data.file !== undefined) yield `${event.data.file}\n`
  }
}
