/**
 * The little XML that S3 speaks: documents written element by element, and a reader for the bodies of requests.
 *
 * What a maintainer must keep: the reader knows elements and text only. A document type, an entity that is not one of
 * the five or a number, and anything unbalanced are refused.
 *
 * @module
 */

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }

/** `text` as it stands between two tags. Control characters become references, as S3 writes them. */
export const escapeXml = (text: string): string =>
  text.replace(
    // deno-lint-ignore no-control-regex
    /[&<>"\u0000-\u0008\u000b-\u001f]/g,
    (char) =>
      char === "&" ? "&amp;" : char === "<" ? "&lt;" : char === ">" ? "&gt;" : char === '"' ? "&quot;" : (
        `&#x${char.charCodeAt(0).toString(16)};`
      ),
  )

/** An element that holds text; nothing when there is none to hold. */
export const text = (name: string, value: string | number | boolean | undefined): string =>
  value === undefined ? "" : `<${name}>${escapeXml(String(value))}</${name}>`

/** An element that holds elements. */
export const element = (name: string, ...content: ReadonlyArray<string>): string =>
  `<${name}>${content.join("")}</${name}>`

/** A whole document in S3's namespace. */
export const document = (name: string, ...content: ReadonlyArray<string>): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="${namespace}">${content.join("")}</${name}>`

/** An element that has been read. */
export interface XmlElement {
  readonly name: string
  readonly text: string
  readonly children: ReadonlyArray<XmlElement>
}

/** The first child of that name. */
export const child = (parent: XmlElement, name: string): XmlElement | undefined =>
  parent.children.find((one) => one.name === name)

/** The text of the first child of that name. */
export const childText = (parent: XmlElement, name: string): string | undefined => child(parent, name)?.text

const unescapeXml = (raw: string): string =>
  raw.replace(/&([^;]*);?/g, (whole, name: string) => {
    const number = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(name)
    const code = number === null ? undefined : number[1] !== undefined ? parseInt(number[1], 16) : Number(number[2])
    const char = code === undefined ? named[name] : code <= 0x10ffff ? String.fromCodePoint(code) : undefined
    if (char === undefined || !whole.endsWith(";")) throw new SyntaxError(`there is no entity ${whole.slice(0, 20)}`)
    return char
  })

interface Open {
  readonly name: string
  text: string
  readonly children: Array<XmlElement>
}

/** Reads a document. Throws a `SyntaxError` when it is not well-formed or holds more than elements and text. */
export const parseXml = (source: string): XmlElement => {
  const token = /<\?xml[^>]*\?>|<!--[^]*?-->|<(\/?)([A-Za-z_][\w.:-]*)((?:\s[^<>]*?)?)(\/?)>|([^<]+)/gy
  const root: Open = { name: "", text: "", children: [] }
  const open: Array<Open> = [root]
  let at = 0
  for (let match = token.exec(source); match !== null; match = token.exec(source)) {
    at = token.lastIndex
    const [, closing, name, , selfClosing, characters] = match
    const top = open.at(-1)!
    if (characters !== undefined) top.text += unescapeXml(characters)
    else if (name === undefined) continue
    else if (closing === "/") {
      if (top === root || top.name !== name) throw new SyntaxError(`</${name}> closes nothing`)
      open.pop()
      open.at(-1)!.children.push(top)
    } else if (selfClosing === "/") top.children.push({ name, text: "", children: [] })
    else open.push({ name, text: "", children: [] })
  }
  const [only] = root.children
  if (at !== source.length || open.length !== 1 || root.children.length !== 1 || root.text.trim() !== "") {
    throw new SyntaxError("the document is not well-formed")
  }
  return only!
}
