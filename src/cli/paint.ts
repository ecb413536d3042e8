/**
 * Lines for people: answers behind their labels, wrapped, with colours and bars where a terminal shows them.
 *
 *     Loss now        you would lose 0.8 s (1.2 MiB) if only the
 *                     store were left
 */

/** What can be shown there. */
export interface Canvas {
  /** Infinity: lines are not wrapped. */
  readonly columns: number
  readonly hasColours: boolean
  readonly hasBars: boolean
}

export type Tone = 'good' | 'warning' | 'bad' | 'faint'

export interface Said {
  readonly text: string
  readonly tone?: Tone | undefined
}

export interface Answer extends Said {
  readonly label: string
  /** Below it. */
  readonly more?: readonly Said[]
}

export const plainCanvas: Canvas = { columns: Infinity, hasColours: false, hasBars: false }

/** Where the answers begin. */
export const labelColumns = 16
const narrowest = 40

const colours: Readonly<Record<Tone, string>> = { good: '32', warning: '33', bad: '1;31', faint: '2' }

/** True if what was written there can be written over. */
export function isScreen(out: NodeJS.WriteStream): boolean {
  return out.isTTY && process.env['TERM'] !== 'dumb'
}

/** Colours on a terminal, unless NO_COLOR is set to anything (no-color.org). */
export function canvasOf(out: NodeJS.WriteStream): Canvas {
  if (!isScreen(out)) return plainCanvas
  const hasColours = (process.env['NO_COLOR'] ?? '') === ''
  return { columns: Math.max(narrowest, out.columns ?? 80), hasColours, hasBars: true }
}

export function paint({ hasColours }: Canvas, tone: Tone | undefined, text: string): string {
  return hasColours && tone !== undefined && text !== '' ? `\u001B[${colours[tone]}m${text}\u001B[0m` : text
}

/** `██████░░░░`; empty where there are no bars. Whatever is not nothing is seen. */
export function bar({ hasBars }: Canvas, share: number, cells: number): string {
  if (!hasBars) return ''
  const full = Math.min(cells, Math.max(share > 0 ? 1 : 0, Math.round(share * cells)))
  return '█'.repeat(full) + '░'.repeat(cells - full)
}

export function needsHand({ tone }: Answer): boolean {
  return tone === 'bad'
}

export function drawAnswers(answers: readonly Answer[], canvas: Canvas): string[] {
  const indent = ' '.repeat(labelColumns)
  return answers.flatMap(({ label, more = [], ...first }) =>
    [first, ...more]
      .flatMap(({ text, tone }) =>
        wrapped(text, canvas.columns - labelColumns).map((line) => paint(canvas, tone, line)),
      )
      .map((line, at) => (at === 0 ? label.padEnd(labelColumns) : indent) + line),
  )
}

/** At spaces; a word that is too long is cut. At least one line. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
    for (; line.length > width; line = line.slice(width)) lines.push(line.slice(0, width))
  }
  return [...lines, line]
}
