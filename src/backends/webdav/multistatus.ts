/**
 * The one document that a WebDAV server answers with: `multistatus` (RFC 4918, 13). Names of elements are taken without
 * their namespace's prefix, which servers choose as they like.
 *
 * A document that is cut off or malformed is `undefined`, never a short list. One pass without recursion, so that a
 * hostile answer costs no more than its length; no document type and no entities but the five of XML and numbers.
 *
 * @module
 */

/** What a server says of one resource. */
export interface Resource {
  /** Its path or URL, escaped as the server does it. */
  readonly href: string
  readonly collection: boolean
  readonly size: number | undefined
  readonly modified: Date | undefined
  /** The status of the resource as a whole, where it has one of its own: it could not be looked at. */
  readonly status: number | undefined
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" }

const resolve = (text: string): string =>
  text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/gi, (all, hex?: string, digits?: string, name = "") => {
    const code = hex !== undefined ? parseInt(hex, 16) : digits !== undefined ? Number(digits) : undefined
    return (code === undefined ? entities[name] : code <= 0x10ffff ? String.fromCodePoint(code) : undefined) ?? all
  })

const token =
  /<!\[CDATA\[([\s\S]*?)\]\]>|<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<(\/?)(?:[\w.-]+:)?([\w.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y

/** Deeper than any answer by half. */
const maxDepth = 24

/** Fields of a resource while it is read. */
interface Draft {
  href: string
  status: number | undefined
  /** Properties of the `propstat` that is being read, and of those that were found. */
  pending: Map<string, string>
  readonly found: Map<string, string>
  propstatus: number | undefined
}

const statusIn = (text: string): number | undefined => {
  const code = /^\s*HTTP\/\d(?:\.\d)?\s+(\d{3})/.exec(text)?.[1]
  return code === undefined ? undefined : Number(code)
}

const resourceOf = ({ href, status, found }: Draft): Resource => {
  const length = found.get("getcontentlength")?.trim() ?? ""
  const modified = new Date(found.get("getlastmodified") ?? NaN)
  return {
    href,
    status,
    collection: found.get("resourcetype") === "collection",
    size: /^\d{1,15}$/.test(length) ? Number(length) : undefined,
    modified: Number.isNaN(modified.getTime()) ? undefined : modified,
  }
}

/** The resources of a document, in its order. */
export const parseMultistatus = (source: string): ReadonlyArray<Resource> | undefined => {
  const open: Array<string> = []
  const all: Array<Resource> = []
  let draft: Draft | undefined
  let text = ""
  let ended = false
  const begin = (name: string): void => {
    text = ""
    if (name === "response") {
      draft = { href: "", status: undefined, pending: new Map(), found: new Map(), propstatus: undefined }
    }
    if (draft === undefined) return
    if (name === "propstat") {
      draft.pending = new Map()
      draft.propstatus = undefined
    }
    if (name === "collection" && open.includes("resourcetype")) draft.pending.set("resourcetype", "collection")
  }
  const end = (name: string): void => {
    const parent = open.at(-1)
    if (draft !== undefined) {
      if (name === "href" && parent === "response") draft.href = text.trim()
      else if (name === "status" && parent === "response") draft.status = statusIn(text)
      else if (name === "status" && parent === "propstat") draft.propstatus = statusIn(text)
      else if (parent === "prop" && name !== "resourcetype") draft.pending.set(name, text)
      else if (name === "propstat" && draft.propstatus === 200) {
        for (const [property, value] of draft.pending) draft.found.set(property, value)
      } else if (name === "response") {
        all.push(resourceOf(draft))
        draft = undefined
      }
    }
    text = ""
    if (open.length === 0) ended = true
  }
  for (let at = source.startsWith("\ufeff") ? 1 : 0; at < source.length; at = token.lastIndex) {
    token.lastIndex = at
    const match = token.exec(source)
    if (match === null) return undefined
    const [, data, closing, name, , empty, plain] = match
    if (data !== undefined) text += data
    else if (plain !== undefined) {
      if (open.length === 0 && plain.trim() !== "") return undefined
      text += resolve(plain)
    } else if (name !== undefined) {
      if (closing === "/") {
        if (open.pop() !== name) return undefined
        end(name)
        continue
      }
      if (ended || open.length >= maxDepth || (open.length === 0 && name !== "multistatus")) return undefined
      open.push(name)
      begin(name)
      if (empty === "/") {
        open.pop()
        end(name)
      }
    }
  }
  return ended && open.length === 0 ? all : undefined
}
