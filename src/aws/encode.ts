/**
 * The one percent-encoding of Holdfast's requests: RFC 3986, everything but unreserved characters escaped.
 *
 * The text made here is both what is signed and what goes to `fetch`. That only works because no URL parser
 * changes it: it holds nothing but unreserved characters, `%XX` and `/`. The one thing that would still be
 * rewritten, a `.` or `..` segment, is refused.
 *
 * @module
 */
import { StoreError } from "../error.ts"

const reserved = /[^A-Za-z0-9\-._~]/
const reservedInPath = /[^A-Za-z0-9\-._~/]/

/** What `encodeURIComponent` leaves although RFC 3986 reserves it. */
const left = /[!'()*]/g
const escapeLeft = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`

const encode = (text: string): string => {
  if (!reserved.test(text)) return text
  try {
    return encodeURIComponent(text).replace(left, escapeLeft)
  } catch {
    throw new StoreError({
      reason: "InvalidInput",
      detail: "the text holds half of a surrogate pair, which has no UTF-8 form",
      operation: "sign",
    })
  }
}

/**
 * A key as it stands in a URL's path: each segment escaped, each `/` kept, empty segments too. Also right for the
 * value of `x-amz-copy-source`.
 *
 * Fails with `InvalidKey` for a `.` or `..` segment: the URL parser would take it away and the request would reach
 * another object.
 */
export const encodeKey = (key: string): string => {
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(key)) {
    throw new StoreError({
      reason: "InvalidKey",
      detail: 'the path has a "." or ".." segment, which every URL parser takes away',
      operation: "sign",
    })
  }
  return reservedInPath.test(key) ? key.split("/").map(encode).join("/") : key
}

/** A query as it stands in a URL, sorted as it is signed, without the `?`. An empty value stands as `name=`. */
export const encodeQuery = (query: Readonly<Record<string, string>>): string =>
  Object.entries(query)
    .map(([name, value]) => [encode(name), encode(value)] as const)
    // By the escaped name, which is ASCII, so the order of code units is the order of bytes.
    .sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0)
    .map(([name, value]) => `${name}=${value}`)
    .join("&")
