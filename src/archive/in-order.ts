/**
 * Does `work` on several items at once, at most `inFlight`, and gives the results in the order of the items. `work` is
 * begun in that order, too. When it ends early, what was begun is awaited and the source is closed.
 */
export async function* inOrder<T, R>(
  source: AsyncIterable<T> | Iterable<T>,
  inFlight: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void> {
  const begun: Promise<R>[] = []
  try {
    for await (const item of source) {
      const result = work(item)
      // It may fail while the source is still being waited for; whoever takes it from the list gets the error.
      result.catch(() => undefined)
      begun.push(result)
      const first = begun.length < inFlight ? undefined : begun.shift()
      if (first !== undefined) yield await first
    }
    for (let next = begun.shift(); next !== undefined; next = begun.shift()) yield await next
  } finally {
    await Promise.allSettled(begun)
  }
}
