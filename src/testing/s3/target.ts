/**
 * The request target, taken apart: percent-encoding, the query, and which bucket and key are meant.
 *
 * What a maintainer must keep: no `URL` object. It would fold `.` and `..` and re-encode, and then a key or a
 * signature would be another one than the client's.
 *
 * @module
 */
import { S3Failure } from "./message.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** RFC 3986: everything but the unreserved characters, byte by byte. `keep` names further characters to leave. */
export const percentEncode = (value: string, keep = ""): string => {
  let out = ""
  for (const byte of encoder.encode(value)) {
    const char = String.fromCharCode(byte)
    out += /[A-Za-z0-9\-._~]/.test(char) || keep.includes(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
  }
  return out
}

/** What `value` says. A broken escape and bytes that are no UTF-8 are `InvalidURI`. */
export const percentDecode = (value: string): string => {
  const bytes: Array<number> = []
  for (let i = 0; i < value.length; i++) {
    if (value[i] !== "%") {
      bytes.push(...encoder.encode(value[i]!))
      continue
    }
    const digits = value.slice(i + 1, i + 3)
    if (!/^[0-9a-f]{2}$/i.test(digits)) throw invalidUri()
    bytes.push(parseInt(digits, 16))
    i += 2
  }
  try {
    return decoder.decode(Uint8Array.from(bytes))
  } catch {
    throw invalidUri()
  }
}

const invalidUri = (): S3Failure => new S3Failure(400, "InvalidURI", "Couldn't parse the specified URI.")

/** The parameters of a query in the order they came, decoded. */
export type Query = ReadonlyArray<readonly [name: string, value: string]>

/** The value of the first parameter of that name; `""` where it has none; `undefined` where it is absent. */
export const parameter = (query: Query, name: string): string | undefined => query.find((one) => one[0] === name)?.[1]

const parseQuery = (raw: string): Query =>
  raw.split("&").filter((pair) => pair !== "").map((pair) => {
    const equals = pair.indexOf("=")
    const decode = (part: string): string => percentDecode(part.replaceAll("+", " "))
    return equals < 0 ? [decode(pair), ""] : [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))]
  })

/** What a request is about. */
export interface Target {
  /** The path as sent, decoded; what is signed is this, encoded again. */
  readonly path: string
  readonly query: Query
  /** Empty: the service itself. */
  readonly bucket: string
  /** Empty: the bucket itself. */
  readonly key: string
}

/** Takes `target` apart. The bucket is in front of one of `domains` in the `host`, or else first in the path. */
export const parseTarget = (target: string, host: string, domains: ReadonlyArray<string>): Target => {
  const mark = target.indexOf("?")
  const path = percentDecode(mark < 0 ? target : target.slice(0, mark))
  if (!path.startsWith("/")) throw invalidUri()
  const query = mark < 0 ? [] : parseQuery(target.slice(mark + 1))
  const hostname = host.replace(/:\d*$/, "").toLowerCase()
  const domain = domains.find((one) => hostname.endsWith(`.${one}`))
  if (domain !== undefined) {
    return { path, query, bucket: hostname.slice(0, -domain.length - 1), key: path.slice(1) }
  }
  const slash = path.indexOf("/", 1)
  const end = slash < 0 ? path.length : slash
  return { path, query, bucket: path.slice(1, end), key: path.slice(end + 1) }
}
