/**
 * What only the tests of this room share: a verifier of signatures that was written from AWS's description and
 * imports nothing of the signer, and a machine made of plain values.
 *
 * @module
 */
import { createHash, createHmac } from "node:crypto"
import type { Machine } from "./machine.ts"

const hex = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")
const hmac = (key: string | Uint8Array, text: string): Uint8Array => createHmac("sha256", key).update(text).digest()

/** What stands on the wire: the target exactly as sent, and all headers, `host` too, by lower-case name. */
export interface WireRequest {
  readonly method: string
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
}

/** A byte at a time, by the list in RFC 3986, so that it shares nothing with `encodeURIComponent`. */
const escape = (text: string): string => {
  let out = ""
  for (const byte of new TextEncoder().encode(text)) {
    const char = String.fromCharCode(byte)
    out += /[A-Za-z0-9\-._~]/.test(char) ? char : "%" + byte.toString(16).toUpperCase().padStart(2, "0")
  }
  return out
}

const unescape = (text: string): string => {
  const bytes: Array<number> = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "%") {
      bytes.push(parseInt(text.slice(at + 1, at + 3), 16))
      at += 2
    } else bytes.push(text.charCodeAt(at))
  }
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes))
}

/** The path and the query as a server reads them, and the query as it must be signed. */
export const readTarget = (target: string): { path: string; query: Array<[string, string]> } => {
  const mark = target.indexOf("?")
  const rawQuery = mark < 0 ? "" : target.slice(mark + 1)
  const pairs = rawQuery === "" ? [] : rawQuery.split("&").map((pair): [string, string] => {
    const equals = pair.indexOf("=")
    return equals < 0 ? [unescape(pair), ""] : [unescape(pair.slice(0, equals)), unescape(pair.slice(equals + 1))]
  })
  return { path: unescape(mark < 0 ? target : target.slice(0, mark)), query: pairs }
}

/** The signature AWS would compute for a request, given what it says of itself. */
export const signatureOf = (
  request: WireRequest,
  secret: string,
  parts: {
    readonly scope: string
    readonly date: string
    readonly signedHeaders: string
    readonly payloadHash: string
  },
): string => {
  const { path, query } = readTarget(request.target)
  const canonicalQuery = query
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [escape(name), escape(value)] as const)
    .sort(([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join("&")
  const names = parts.signedHeaders.split(";")
  const canonical = [
    request.method,
    path.split("/").map(escape).join("/"),
    canonicalQuery,
    ...names.map((name) => `${name}:${request.headers[name]!.trim().replace(/ +/g, " ")}`),
    "",
    parts.signedHeaders,
    parts.payloadHash,
  ].join("\n")
  const toSign = ["AWS4-HMAC-SHA256", parts.date, parts.scope, hex(canonical)].join("\n")
  let key: string | Uint8Array = `AWS4${secret}`
  for (const step of parts.scope.split("/")) key = hmac(key, step)
  return createHmac("sha256", key).update(toSign).digest("hex")
}

/** Whether a request with an `Authorization` header is signed right, and if not, why. */
export const verify = (request: WireRequest, secret: string, payloadHash: string): string => {
  const match = /^AWS4-HMAC-SHA256 Credential=[^/]+\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    request.headers["authorization"] ?? "",
  )
  if (match === null) return "no authorization"
  const [, scope, signedHeaders, signature] = match
  const unsigned = Object.keys(request.headers).filter((name) => name === "host" || name.startsWith("x-amz-"))
    .filter((name) => !signedHeaders!.split(";").includes(name) && name !== "x-amz-content-sha256")
  if (unsigned.length > 0) return `not signed: ${unsigned.join(", ")}`
  const date = request.headers["x-amz-date"]!
  const expected = signatureOf(request, secret, { scope: scope!, date, signedHeaders: signedHeaders!, payloadHash })
  return expected === signature ? "ok" : "another signature"
}

/** Whether a presigned request is signed right, and if not, why. */
export const verifyPresigned = (request: WireRequest, secret: string): string => {
  const query = Object.fromEntries(readTarget(request.target).query)
  const expected = signatureOf(request, secret, {
    scope: query["X-Amz-Credential"]!.slice(query["X-Amz-Credential"]!.indexOf("/") + 1),
    date: query["X-Amz-Date"]!,
    signedHeaders: query["X-Amz-SignedHeaders"]!,
    payloadHash: "UNSIGNED-PAYLOAD",
  })
  return expected === query["X-Amz-Signature"] ? "ok" : "another signature"
}

/** A machine without files, programs or network; what a test needs of them is given. */
export const machineOf = (
  variables: Readonly<Record<string, string>>,
  more: Partial<Machine> & { readonly files?: Readonly<Record<string, string>> } = {},
): Machine => ({
  variable: (name) => variables[name] || undefined,
  readText: (path) => Promise.resolve(more.files?.[path]),
  run: () => Promise.reject(new Error("no programs here")),
  fetch: () => Promise.reject(new Error("no network here")),
  now: () => Date.parse("2026-01-01T00:00:00Z"),
  ...more,
})

/** What `console.log` of this runtime prints, at its most talkative. */
export const inspectNatively = (value: unknown): string => {
  const runtime = Reflect.get(globalThis, "Deno") ?? Reflect.get(globalThis, "Bun") as unknown
  const { inspect } = runtime as { inspect: (value: unknown, options: object) => string }
  return inspect(value, { depth: 10, showHidden: true, getters: true })
}
