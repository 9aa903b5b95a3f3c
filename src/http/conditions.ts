/**
 * Conditions and ranges of a request, as RFC 9110 has them: etags in quotes, lists of them, `*`, dates, `bytes=`.
 *
 * @module
 */
import type { ObjectInfo, WriteCondition } from "../backend.ts"
import { StoreError } from "../error.ts"

/** An etag as a header has it. */
export const quoted = (etag: string): string => etag.startsWith("W/") ? `W/"${etag.slice(2)}"` : `"${etag}"`

const bad = (header: string, what: string): StoreError =>
  new StoreError({
    reason: "InvalidInput",
    operation: "serve",
    detail: `the header ${header} ${what}`,
    hint: `write ${header}: "etag", in double quotes, with an etag that this store has given out`,
  })

/** The etags of a header, as a store has them; `"*"` for any. Throws `InvalidInput` for what is neither. */
const tagsIn = (headers: Headers, name: string): "*" | ReadonlyArray<string> | undefined => {
  const value = headers.get(name)?.trim()
  if (value === undefined) return undefined
  if (value === "*") return "*"
  const tag = /\s*(W\/)?"([^"]*)"\s*(?:,|$)/y
  const tags: Array<string> = []
  while (tag.lastIndex < value.length) {
    const match = tag.exec(value)
    if (match === null) throw bad(name, "holds no etag in quotes")
    tags.push((match[1] ?? "") + match[2])
  }
  if (tags.length === 0) throw bad(name, "is empty")
  return tags
}

/** The condition of a write: one etag, or that there is nothing yet. */
export const writeCondition = (headers: Headers): WriteCondition => {
  const match = tagsIn(headers, "if-match")
  const noneMatch = tagsIn(headers, "if-none-match")
  for (const name of ["if-modified-since", "if-unmodified-since"]) {
    if (headers.has(name)) throw bad(name, "cannot decide about a write: two may fall into one second; use if-match")
  }
  if (match === "*" || (match !== undefined && match.length > 1)) throw bad("if-match", "of a write takes one etag")
  if (noneMatch !== undefined && noneMatch !== "*") throw bad("if-none-match", 'of a write can only be "*"')
  return { ifMatch: match?.[0], ifNoneMatch: noneMatch }
}

/** The one strong etag with which a load can be refused before its bytes are sent for. */
export const loadCondition = (headers: Headers): { readonly ifNoneMatch?: string } => {
  const tags = tagsIn(headers, "if-none-match")
  return tags !== undefined && tags !== "*" && tags.length === 1 && !headers.has("if-match")
    ? { ifNoneMatch: tags[0]! }
    : {}
}

const plain = (etag: string): string => etag.replace(/^W\//, "")

const seconds = (headers: Headers, name: string): number => Math.floor(Date.parse(headers.get(name) ?? "") / 1000)

/** What the conditions of a read say about an object: `undefined` to send it. RFC 9110, 13.2.2. */
export const readVerdict = (headers: Headers, info: ObjectInfo): 304 | 412 | undefined => {
  const modified = Math.floor(info.modified.getTime() / 1000)
  const match = tagsIn(headers, "if-match")
  const noneMatch = tagsIn(headers, "if-none-match")
  if (match !== undefined) {
    if (match !== "*" && (info.etag.startsWith("W/") || !match.includes(info.etag))) return 412
  } else if (modified > seconds(headers, "if-unmodified-since")) return 412
  if (noneMatch !== undefined) {
    return noneMatch === "*" || noneMatch.some((tag) => plain(tag) === plain(info.etag)) ? 304 : undefined
  }
  return modified <= seconds(headers, "if-modified-since") ? 304 : undefined
}

/** A range that is asked for. */
export type AskedRange = { readonly offset: number; readonly length: number | undefined } | { readonly last: number }

/**
 * The range of a request. What is no single range of bytes is none, and the whole object is the answer; so a request
 * for a thousand of them costs no more than one for the object.
 */
export const rangeIn = (headers: Headers): AskedRange | undefined => {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(headers.get("range")?.trim() ?? "")
  if (match === null) return undefined
  const [, first = "", last = ""] = match
  const bounded = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER)
  if (first === "") return last === "" ? undefined : { last: bounded(last) }
  const offset = bounded(first)
  if (last === "") return { offset, length: undefined }
  const end = bounded(last)
  return end < offset ? undefined : { offset, length: Math.min(end - offset + 1, Number.MAX_SAFE_INTEGER) }
}
