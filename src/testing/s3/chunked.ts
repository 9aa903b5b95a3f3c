/**
 * Request bodies: the hash that the client promised, and `aws-chunked` framing, decoded and verified chunk by chunk.
 *
 * @module
 */
import type { Signed } from "./auth.ts"
import type { Hashing } from "./hashing.ts"
import { S3Failure } from "./message.ts"

/** A body as the operations see it. */
export interface Decoded {
  readonly body: Uint8Array
  /** Headers that came after the body; names in lower case. */
  readonly trailers: ReadonlyMap<string, string>
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("latin1")

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html: every chunk but the last. */
const minChunk = 8192

const none: ReadonlyMap<string, string> = new Map()

/** The forms of `aws-chunked`, by their `x-amz-content-sha256`. */
const forms: Readonly<Record<string, { readonly signed: boolean; readonly trailer: boolean }>> = {
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": { signed: true, trailer: false },
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": { signed: true, trailer: true },
  "STREAMING-UNSIGNED-PAYLOAD-TRAILER": { signed: false, trailer: true },
}

const incomplete = (): S3Failure => new S3Failure(400, "IncompleteBody", "The request body terminated unexpectedly")

/** Whether a profile takes bodies with trailers, and how it refuses them. */
export type PeerTrailers = "accepted" | "mismatch" | "unsupported"

/** Checks `body` against `promise`, which is what `x-amz-content-sha256` says of it, and takes it out of its chunks. */
export const decodeBody = (
  body: Uint8Array,
  promise: string,
  headers: ReadonlyMap<string, string>,
  signed: Signed | undefined,
  trailerRule: PeerTrailers,
  hashing: Hashing,
): Decoded => {
  if (promise === "UNSIGNED-PAYLOAD") return { body, trailers: none }
  const form = forms[promise]
  if (form === undefined) {
    const actual = hashing.digest("sha256", body).toHex()
    if (!/^[0-9a-f]{64}$/i.test(promise)) {
      throw new S3Failure(
        400,
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, " +
          "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        { details: { ArgumentName: "x-amz-content-sha256", ArgumentValue: promise } },
      )
    }
    if (actual !== promise.toLowerCase()) throw hashMismatch(promise, actual)
    return { body, trailers: none }
  }
  if (form.trailer && trailerRule === "mismatch") {
    throw hashMismatch(promise, hashing.digest("sha256", body).toHex())
  }
  if (form.trailer && trailerRule === "unsupported") {
    throw new S3Failure(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
  }
  return decodeChunks(body, headers, form, signed, hashing)
}

const hashMismatch = (promise: string, actual: string): S3Failure =>
  new S3Failure(
    400,
    "XAmzContentSHA256Mismatch",
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
    { details: { ClientComputedContentSHA256: promise, S3ComputedContentSHA256: actual } },
  )

/** A line that ends in CR LF, and where the next one starts. */
const lineAt = (body: Uint8Array, from: number): { readonly line: string; readonly next: number } => {
  const end = body.indexOf(10, from)
  if (end < 1 || body[end - 1] !== 13) throw incomplete()
  return { line: decoder.decode(body.subarray(from, end - 1)), next: end + 1 }
}

const decodeChunks = (
  body: Uint8Array,
  headers: ReadonlyMap<string, string>,
  form: { readonly signed: boolean; readonly trailer: boolean },
  signed: Signed | undefined,
  hashing: Hashing,
): Decoded => {
  const declared = headers.get("x-amz-decoded-content-length")
  if (declared === undefined || !/^\d+$/.test(declared)) {
    throw new S3Failure(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
  }
  const sha256 = (bytes: Uint8Array): string => hashing.digest("sha256", bytes).toHex()
  let previous = signed?.signature ?? ""
  const verify = (kind: "PAYLOAD" | "TRAILER", hashes: ReadonlyArray<string>, claimed: string | undefined): void => {
    if (!form.signed || signed === undefined) return
    const text = [`AWS4-HMAC-SHA256-${kind}`, signed.time, signed.scope, previous, ...hashes].join("\n")
    const expected = hashing.hmac(signed.signingKey, text).toHex()
    if (claimed !== expected) {
      throw new S3Failure(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing " +
          "method.",
        { details: { StringToSign: text, SignatureProvided: claimed ?? "" } },
      )
    }
    previous = expected
  }

  const out = new Uint8Array(Number(declared))
  let filled = 0
  let at = 0
  let short = false
  for (;;) {
    const { line, next } = lineAt(body, at)
    const match = /^([0-9a-f]+)(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(line)
    if (match === null) throw incomplete()
    const size = parseInt(match[1]!, 16)
    if (next + size > body.length) throw incomplete()
    const chunk = body.subarray(next, next + size)
    verify("PAYLOAD", [sha256(new Uint8Array(0)), sha256(chunk)], match[2])
    at = next + size
    if (size === 0) break
    if (short) {
      throw new S3Failure(
        403,
        "InvalidChunkSizeError",
        "Only the last chunk is allowed to have a size less than 8192 bytes",
      )
    }
    short = form.signed && size < minChunk
    if (filled + size > out.length) throw incomplete()
    out.set(chunk, filled)
    filled += size
    if (body[at] !== 13 || body[at + 1] !== 10) throw incomplete()
    at += 2
  }
  if (filled !== out.length) throw incomplete()
  return { body: out, trailers: form.trailer ? readTrailers(body, at, headers, verify, sha256) : none }
}

const readTrailers = (
  body: Uint8Array,
  from: number,
  headers: ReadonlyMap<string, string>,
  verify: (kind: "TRAILER", hashes: ReadonlyArray<string>, claimed: string | undefined) => void,
  sha256: (bytes: Uint8Array) => string,
): ReadonlyMap<string, string> => {
  const trailers = new Map<string, string>()
  for (let at = from; at < body.length;) {
    const { line, next } = lineAt(body, at)
    at = next
    if (line === "") break
    const colon = line.indexOf(":")
    if (colon < 1) throw malformedTrailer()
    trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim())
  }
  const signature = trailers.get("x-amz-trailer-signature")
  trailers.delete("x-amz-trailer-signature")
  const canonical = [...trailers].map(([name, value]) => `${name}:${value}\n`).join("")
  verify("TRAILER", [sha256(encoder.encode(canonical))], signature)
  const announced = (headers.get("x-amz-trailer") ?? "").split(",").map((name) => name.trim().toLowerCase())
  if (announced.some((name) => name !== "" && !trailers.has(name))) throw malformedTrailer()
  return trailers
}

const malformedTrailer = (): S3Failure =>
  new S3Failure(
    400,
    "MalformedTrailerError",
    "The request contained trailing data that was not well-formed or did " +
      "not conform to our published schema.",
  )
