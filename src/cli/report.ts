/** Tells an error to a person: what happened, and what to do. The stack is for developers, who ask for it. */
import { inspect } from 'node:util'
import { describe, isError } from '../kit/errors.ts'

export function report(error: unknown, withStack: boolean): void {
  const code = isError(error) ? ` [${error.code}]` : ''
  process.stderr.write(`error: ${describe(error)}${code}\n`)
  if (isError(error)) tellHint(error.hint)
  // An error that is none of ours is a fault of the program, and its stack is what we would ask for.
  if (withStack || !isError(error)) process.stderr.write(`${inspect(error)}\n`)
}

export function warn(message: string, hint?: string): void {
  process.stderr.write(`warning: ${message}\n`)
  tellHint(hint)
}

function tellHint(hint: string | undefined): void {
  if (hint !== undefined) process.stderr.write(`hint:  ${hint}\n`)
}
