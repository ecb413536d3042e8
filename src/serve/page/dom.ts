/** Elements, made without markup: whatever a value holds, it stays text. */

export type Child = Node | string

const svgSpace = 'http://www.w3.org/2000/svg'

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

export function svgElement<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(svgSpace, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  made.append(...children)
  return made
}

/** An element of the page's own markup. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/** What does not change is left alone: a screen reader reads what does, and a selection stays. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

export function table(caption: string, heads: readonly string[], rows: readonly (readonly string[])[]): HTMLElement {
  const head = element('tr', {}, ...heads.map((text) => element('th', { scope: 'col' }, text)))
  const body = rows.map((row) => element('tr', {}, ...row.map((text) => element('td', {}, text))))
  return element(
    'table',
    {},
    element('caption', {}, caption),
    element('thead', {}, head),
    element('tbody', {}, ...body),
  )
}

/** Puts these in the place of what a parent has; those that are equal stay as they are, with what is selected in them. */
export function update(parent: HTMLElement, children: readonly HTMLElement[]): void {
  for (const [nth, child] of children.entries()) {
    const old = parent.children[nth]
    if (old === undefined) parent.append(child)
    else if (!old.isEqualNode(child)) old.replaceWith(child)
  }
  while (parent.children.length > children.length) parent.lastElementChild?.remove()
}
