/**
 * The little XML that S3 speaks: a strict reader for its answers, and writers for the two documents it is sent.
 *
 * The reader takes elements and text, entities and CDATA, and nothing else: a document type, an unknown entity, an
 * end tag that closes nothing or a document that stops in the middle is a `SyntaxError`, since an answer that was
 * cut off must never pass for a short one. It makes one pass and recurses nowhere, so a hostile answer costs no more
 * than its length.
 *
 * @module
 */

/** An element: the text directly in it, and the elements in it. */
export interface XmlElement {
  /** Its name without a namespace's prefix. */
  readonly name: string
  /** Its own text, entities resolved; white space is kept. */
  readonly text: string
  /** The elements in it, in order. */
  readonly children: ReadonlyArray<XmlElement>
}

/** Deeper than any answer of S3 by half. */
const maxDepth = 16

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" }

const resolveEntities = (raw: string): string =>
  raw.includes("&")
    ? raw.replace(
      /&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|([a-z]{2,4}));|&/g,
      (_, hex?: string, digits?: string, name = "") => {
        const code = hex !== undefined ? parseInt(hex, 16) : digits !== undefined ? Number(digits) : undefined
        const text = code === undefined ? entities[name] : code <= 0x10ffff ? String.fromCodePoint(code) : undefined
        if (text === undefined) throw new SyntaxError("the XML has an unknown entity")
        return text
      },
    )
    : raw

/** `<a>`, `</a>`, `<a/>` with attributes, which are read over: S3 puts nothing but namespaces there. */
const tag = /<(\/?)(?:[\w.-]+:)?([A-Za-z_][\w.-]*)(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(\/?)>/y

interface Open {
  readonly name: string
  readonly children: Array<XmlElement>
  text: string
}

/** Reads a document; its root element. Throws a `SyntaxError` for everything that is not one whole document. */
export const parseXml = (source: string): XmlElement => {
  const stack: Array<Open> = []
  let root: XmlElement | undefined
  const close = (element: XmlElement): void => {
    const parent = stack.at(-1)
    if (parent !== undefined) parent.children.push(element)
    else if (root === undefined) root = element
    else throw new SyntaxError("the XML has two root elements")
  }
  const skipTo = (end: string, from: number): number => {
    const at = source.indexOf(end, from)
    if (at < 0) throw new SyntaxError("the XML ends in the middle")
    return at
  }
  for (let at = 0; at < source.length;) {
    const next = source.indexOf("<", at)
    const text = source.slice(at, next < 0 ? source.length : next)
    const top = stack.at(-1)
    if (top !== undefined) top.text += resolveEntities(text)
    else if (/[^\s\ufeff]/.test(text)) throw new SyntaxError("the XML has text outside of its root element")
    if (next < 0) break
    if (source.startsWith("<?", next)) at = skipTo("?>", next) + 2
    else if (source.startsWith("<!--", next)) at = skipTo("-->", next + 4) + 3
    else if (source.startsWith("<![CDATA[", next) && top !== undefined) {
      const end = skipTo("]]>", next)
      top.text += source.slice(next + 9, end)
      at = end + 3
    } else {
      tag.lastIndex = next
      const match = tag.exec(source)
      if (match === null) throw new SyntaxError("the XML has a tag that is none")
      at = tag.lastIndex
      const [, closing, name = "", empty] = match
      if (closing === "/") {
        if (top?.name !== name || empty === "/") throw new SyntaxError("the XML closes an element that is not open")
        stack.pop()
        close(top)
      } else if (empty === "/") close({ name, text: "", children: [] })
      else if (stack.push({ name, text: "", children: [] }) > maxDepth) throw new SyntaxError("the XML is too deep")
    }
  }
  if (root === undefined || stack.length > 0) throw new SyntaxError("the XML ends in the middle")
  return root
}

/** The elements of that name in `parent`. */
export const childrenOf = (parent: XmlElement, name: string): ReadonlyArray<XmlElement> =>
  parent.children.filter((child) => child.name === name)

/** The text of the first element of that name in `parent`; `undefined` where there is none. */
export const textOf = (parent: XmlElement, name: string): string | undefined =>
  parent.children.find((child) => child.name === name)?.text

/**
 * A name from a list that was asked for with `encoding-type=url`. Amazon writes a space as `+` and a plus as `%2B`;
 * others write `%20`. A broken escape is a `SyntaxError`.
 */
export const decodeName = (name: string): string => {
  try {
    return decodeURIComponent(name.replaceAll("+", " "))
  } catch {
    throw new SyntaxError("a name in the list is not escaped as it says")
  }
}

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }

/** A text as it stands between tags. */
export const escapeText = (text: string): string => text.replace(/[&<>"]/g, (char) => escapes[char]!)

/** Whether XML 1.0 can carry `text`; two noncharacters cannot be written even as references. */
export const fitsXml = (text: string): boolean => !/[\ufffe\uffff]/.test(text)

/** A document of S3's, out of what stands in its root. */
export const documentOf = (root: string, content: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?><${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${content}</${root}>`

/** A part as CompleteMultipartUpload lists it; `crc32` in base64. */
export interface ListedPart {
  /** 1 for the first. */
  readonly number: number
  /** Without quotes. */
  readonly etag: string
  /** In base64. */
  readonly crc32?: string | undefined
}

/** The body of CompleteMultipartUpload. */
export const completeDocument = (parts: ReadonlyArray<ListedPart>): string => {
  const listed = parts.map(({ number, etag, crc32 }) => {
    const checksum = crc32 === undefined ? "" : `<ChecksumCRC32>${crc32}</ChecksumCRC32>`
    return `<Part><PartNumber>${number}</PartNumber><ETag>&quot;${escapeText(etag)}&quot;</ETag>${checksum}</Part>`
  })
  return documentOf("CompleteMultipartUpload", listed.join(""))
}

/** The body of DeleteObjects, to be answered key by key. */
export const deleteDocument = (keys: ReadonlyArray<string>): string => {
  const listed = keys.map((key) => `<Object><Key>${escapeText(key)}</Key></Object>`)
  return documentOf("Delete", `${listed.join("")}<Quiet>false</Quiet>`)
}
