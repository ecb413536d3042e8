/** Asks one path again and again, one request at a time; not while nobody sees the page, and at once when it is seen. */

const answerMs = 3000

export interface Polled<T> {
  readonly path: string
  readonly onAnswer: (answer: T) => void
  /** No answer came, or `onAnswer` threw. */
  readonly onFailure?: () => void
  /** When to ask next, after an answer, or after a failure (null). */
  readonly nextMs: (answer: T | null) => number
}

export function poll<T>({ path, onAnswer, onFailure, nextMs }: Polled<T>): void {
  let timer: number | undefined
  let isAsking = false
  const ask = async (): Promise<void> => {
    isAsking = true
    let told: T | null = null
    let answer: T | null = null
    try {
      const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(answerMs) })
      if (!response.ok) throw new Error(`${path} was answered with ${response.status}`)
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same build's server made it
      told = (await response.json()) as T
      onAnswer(told)
      answer = told
    } catch (error) {
      // For whoever looks why: an answer that does not come is in the browser's log already.
      if (told !== null) reportError(error)
      onFailure?.()
    } finally {
      isAsking = false
      if (!document.hidden) timer = setTimeout(start, nextMs(answer))
    }
  }
  const start = (): void => {
    clearTimeout(timer)
    if (!isAsking && !document.hidden) void ask()
  }
  document.addEventListener('visibilitychange', start)
  start()
}
