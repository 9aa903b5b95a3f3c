/**
 * Conditions and ranges: RFC 9110, as S3 applies it to reads, writes, copies and deletes.
 *
 * @module
 */
import { S3Failure } from "./message.ts"
import type { PeerConditions } from "./quirks.ts"
import { noSuchKey, type StoredObject, type Version } from "./state.ts"

type Existing = Version & { readonly object: StoredObject }

const failed = (condition: string): S3Failure =>
  new S3Failure(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
    details: { Condition: condition },
  })

/** Whether a list of etags, as in `If-Match`, holds `etag`. Weak ones never match. */
const listHolds = (list: string, etag: string): boolean =>
  list.trim() === "*" ||
  list.split(",").map((one) => one.trim()).some((one) => one === `"${etag}"` || one === etag)

/** Whole seconds since 1970; `undefined` when it is no date, and then the header is ignored. */
const seconds = (text: string | undefined): number | undefined => {
  const millis = text === undefined ? NaN : Date.parse(text)
  return Number.isNaN(millis) ? undefined : Math.floor(millis / 1000)
}

/** Names of the headers that hold the conditions of a read. */
interface ReadConditions {
  readonly match: string
  readonly noneMatch: string
  readonly modified: string
  readonly unmodified: string
}

const ofRequest: ReadConditions = {
  match: "if-match",
  noneMatch: "if-none-match",
  modified: "if-modified-since",
  unmodified: "if-unmodified-since",
}

const ofSource: ReadConditions = {
  match: "x-amz-copy-source-if-match",
  noneMatch: "x-amz-copy-source-if-none-match",
  modified: "x-amz-copy-source-if-modified-since",
  unmodified: "x-amz-copy-source-if-unmodified-since",
}

/** The verdict of the conditions of a read; an etag outweighs a date. */
const judgeRead = (
  headers: ReadonlyMap<string, string>,
  names: ReadConditions,
  found: Existing,
): "holds" | "notModified" | "failed" => {
  const modified = Math.floor(found.modified / 1000)
  const match = headers.get(names.match)
  const unmodified = seconds(headers.get(names.unmodified))
  if (match !== undefined ? !listHolds(match, found.object.etag) : unmodified !== undefined && modified > unmodified) {
    return "failed"
  }
  const noneMatch = headers.get(names.noneMatch)
  const since = seconds(headers.get(names.modified))
  const same = noneMatch !== undefined
    ? listHolds(noneMatch, found.object.etag)
    : since !== undefined && modified <= since
  return same ? "notModified" : "holds"
}

/** Checks the conditions of GetObject and HeadObject. True: the answer is 304. */
export const notModified = (headers: ReadonlyMap<string, string>, found: Existing): boolean => {
  const verdict = judgeRead(headers, ofRequest, found)
  if (verdict === "failed") throw failed(headers.has("if-match") ? "If-Match" : "If-Unmodified-Since")
  return verdict === "notModified"
}

/** Checks the conditions on the source of a copy; here "not modified" fails as well. */
export const checkSource = (
  headers: ReadonlyMap<string, string>,
  found: Existing,
  quirks: PeerConditions,
): void => {
  if (quirks.copySource && judgeRead(headers, ofSource, found) !== "holds") throw failed("x-amz-copy-source-If-Match")
}

/** Checks the conditions of a write against what its key names now. */
export const checkWrite = (
  headers: ReadonlyMap<string, string>,
  key: string,
  found: Existing | undefined,
  counts: boolean,
  quirks: PeerConditions,
): void => {
  if (!counts) return
  const noneMatch = headers.get("if-none-match")
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== "*") {
      throw new S3Failure(
        501,
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        {
          details: { Header: "If-None-Match" },
        },
      )
    }
    if (found !== undefined) throw failed("If-None-Match")
  }
  const match = headers.get("if-match")
  if (match === undefined) return
  if (found === undefined) throw noSuchKey(key)
  if (!holdsInForm(match, found.object.etag, quirks.etagForm)) throw failed("If-Match")
}

const holdsInForm = (match: string, etag: string, form: PeerConditions["etagForm"]): boolean => {
  if (form === "either" || match === "*") return listHolds(match, etag)
  if (form === "unquoted") return match === etag
  if (!/^"[^"]*"$/.test(match)) {
    throw new S3Failure(500, "InternalError", "We encountered an internal error. Please try again.")
  }
  return listHolds(match, etag)
}

/** Checks `If-Match` on a delete. `behindMarker`: the newest version is a delete marker. */
export const checkRemove = (
  match: string | undefined,
  key: string,
  found: Existing | undefined,
  behindMarker: boolean,
): void => {
  if (match === undefined) return
  if (found === undefined) throw behindMarker ? failed("If-Match") : noSuchKey(key)
  if (!listHolds(match, found.object.etag)) throw failed("If-Match")
}

/** Bytes `start` up to but not including `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * The range that a `Range` header asks for; `undefined`: the whole object, which is also the answer to several ranges
 * and to what is no range. Past the end: `InvalidRange`.
 */
export const parseRange = (header: string | undefined, size: number): ByteRange | undefined => {
  const match = header === undefined ? null : /^bytes=(\d*)-(\d*)$/.exec(header.trim())
  if (match === null || header === undefined) return undefined
  const [, first = "", last = ""] = match
  if (first === "" && last === "") return undefined
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1)
  if (start >= end) {
    throw new S3Failure(416, "InvalidRange", "The requested range is not satisfiable", {
      details: { RangeRequested: header, ActualObjectSize: String(size) },
      headers: { "content-range": `bytes */${size}` },
    })
  }
  return { start, end }
}

/** Whether `If-Range` lets the range count: without it, with the object's etag, or with its date. */
export const rangeCounts = (ifRange: string | undefined, found: Existing): boolean => {
  if (ifRange === undefined) return true
  const date = seconds(ifRange)
  return date === undefined || ifRange.includes('"')
    ? ifRange.trim() === `"${found.object.etag}"`
    : Math.floor(found.modified / 1000) === date
}
