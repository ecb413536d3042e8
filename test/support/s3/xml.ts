/** As much XML as S3 speaks: elements and text, no attributes that matter. */

export type XmlContent = string | number | boolean | readonly XmlElement[]
export type XmlElement = readonly [name: string, content: XmlContent]

export function xmlDocument(name: string, content: readonly XmlElement[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element([name, content])}`
}

function element([name, content]: XmlElement): string {
  const inner = typeof content === 'object' ? content.map(element).join('') : escape(String(content))
  return `<${name}>${inner}</${name}>`
}

function escape(text: string): string {
  return text.replace(/[&<>"'\r\n]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** The contents of all elements of that name, as they stand: text or inner elements. */
export function xmlElements(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, 'g'))].map(
    (match) => match[1] ?? '',
  )
}

/** The text of the first element of that name, or undefined. */
export function xmlText(xml: string, name: string): string | undefined {
  const text = xmlElements(xml, name)[0]
  return text === undefined ? undefined : unescape(text)
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescape(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]+|#[0-9]+|[a-z]+);/g, (whole, entity: string) => {
    if (entity.startsWith('#x')) return String.fromCodePoint(Number.parseInt(entity.slice(2), 16))
    if (entity.startsWith('#')) return String.fromCodePoint(Number(entity.slice(1)))
    return named[entity] ?? whole
  })
}
