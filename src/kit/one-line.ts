/**
 * What somebody else wrote may hold anything: shown on a terminal it must not move the cursor, begin a line or turn the
 * direction of writing.
 */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, ' ')
}
