/**
 * Objects as answers: what was saved, decoded, with the headers that browsers, proxies and `curl` expect.
 *
 * What a maintainer must keep: a body that is not sent is cancelled; a stored page must not run in the origin of the
 * program that serves it, so it is an attachment, sandboxed, and of the type it was saved with and no other.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { headers as names, toHeader } from "../backends/http/wire.ts"
import type { ObjectInfo } from "../backend.ts"
import { StoreError } from "../error.ts"
import { Loaded } from "../load.ts"
import type { LoadOptions } from "../options.ts"
import { loadCondition, quoted, rangeIn, readVerdict } from "./conditions.ts"
import { problemResponse } from "./problem.ts"
import { run, type ServedStore, serviceOf } from "./served.ts"

/** The name that a download gets: the end of the key, in a form that no header can be broken out of (RFC 6266, 8187). */
const disposition = (key: string): string => {
  const name = key.split("/").findLast((segment) => segment !== "") ?? "object"
  const escaped = encodeURIComponent(name).replace(/['()*!]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
  return `attachment; filename="${name.replace(/[^A-Za-z0-9._ -]/g, "_")}"; filename*=UTF-8''${escaped}`
}

/** Each use is asked about first; what is compressed on the way would have another etag and no length. */
const caching = { "cache-control": "private, no-cache, no-transform" }

/** What is said of an object, with its bytes and without them. */
const objectHeaders = (info: ObjectInfo): Headers => {
  const headers = new Headers({
    etag: quoted(info.etag),
    "last-modified": info.modified.toUTCString(),
    "accept-ranges": "bytes",
    "content-type": info.contentType ?? "application/octet-stream",
    "content-disposition": disposition(info.key),
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    ...caching,
  })
  if (Object.keys(info.metadata).length > 0) headers.set(names.metadata, toHeader(info.metadata))
  return headers
}

/**
 * A load as the answer to a request: 200, or 206 where the load is of a range; 304 or 412 where the request's
 * conditions say so; headers alone for `HEAD`. A body that is not sent is cancelled. The request's own `Range` is not
 * looked at, since the load has begun already; {@link loadRequest} does that as well.
 *
 * @example A handler of your own
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { objectResponse } from "@holdfast/holdfast/http"
 *
 * await using store = await open("mem:")
 * await store.save("report.txt", "all well", { contentType: "text/plain" })
 * const handler = async (request: Request) => objectResponse(await store.load("report.txt"), request)
 * const response = await handler(new Request("http://localhost/report"))
 * console.assert(await response.text() === "all well")
 * ```
 */
export const objectResponse = (loaded: Loaded, request: Request): Response => {
  const { info, offset, length } = loaded
  const headers = objectHeaders(info)
  const verdict = readVerdict(request.headers, info)
  if (verdict !== undefined) {
    void loaded.cancel()
    if (verdict === 304) return new Response(null, { status: 304, headers })
    return problemResponse(
      new StoreError({
        reason: "PreconditionFailed",
        detail: `its etag is "${info.etag}", and the request's condition asks for another`,
        operation: "load",
        key: info.key,
      }),
      request,
      { headers: { etag: quoted(info.etag) } },
    )
  }
  if (length !== undefined) headers.set("content-length", String(length))
  const total = info.length
  const partial = length !== undefined && (offset > 0 || (total !== undefined && length < total)) && length > 0
  if (partial) headers.set("content-range", `bytes ${offset}-${offset + length - 1}/${total ?? "*"}`)
  const head = request.method === "HEAD"
  if (head) void loaded.cancel()
  return new Response(head ? null : loaded.body, { status: partial ? 206 : 200, headers })
}

const isWeak = (info: ObjectInfo): boolean => info.etag.startsWith("W/")

/** Where a load has to begin for the last bytes of an object, and of which object. */
const fromEnd = (info: ObjectInfo, last: number): LoadOptions => {
  const size = info.length ?? info.size
  const length = Math.min(last, size)
  // The last 0 bytes, or the last of none, are a range that cannot be had.
  return { offset: size - length, length: Math.max(1, length), ifMatch: isWeak(info) ? undefined : info.etag }
}

/**
 * Loads what a `GET` or `HEAD` asks for and answers it: the whole object or the one range of its `Range`, under its
 * `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` and `If-Range`. Several ranges at once are
 * answered with the whole object. Rejects with a `StoreError`; {@link problemResponse} makes an answer of it.
 */
export const loadRequest = async (store: ServedStore, key: string, request: Request): Promise<Response> => {
  const service = serviceOf(store)
  const { headers, signal } = request
  if (request.method === "HEAD") {
    // A HEAD has no use for a body, so none is opened.
    const info = await run(service.stat(key), signal)
    return objectResponse(new Loaded(info, 0, info.length, new ReadableStream()), request)
  }
  const whole = async (): Promise<Response> => {
    const condition = loadCondition(headers)
    try {
      return objectResponse(await run(service.load(key, condition), signal), request)
    } catch (error) {
      if (!StoreError.is(error) || error.reason !== "NotModified") throw error
      return problemResponse(error, request, { headers: { etag: quoted(condition.ifNoneMatch ?? ""), ...caching } })
    }
  }
  const range = rangeIn(headers)
  const ifRange = headers.get("if-range")?.trim()
  // A date, or a weak etag, cannot promise that the range belongs to the rest that the client has.
  const pin = /^"([^"]*)"$/.exec(ifRange ?? "")?.[1]
  if (range === undefined || (ifRange !== undefined && pin === undefined)) return await whole()
  try {
    const asked = "last" in range
      ? Effect.flatMap(service.stat(key), (info) => service.load(key, { ...fromEnd(info, range.last), ...pinned(pin) }))
      : service.load(key, { ...range, ...pinned(pin) })
    return objectResponse(await run(asked, signal), request)
  } catch (error) {
    if (!StoreError.is(error)) throw error
    // The object is another one than If-Range has in mind, or has become another one in between.
    if (error.reason === "PreconditionFailed") return await whole()
    if (error.reason !== "RangeNotSatisfiable") throw error
    const info = await run(service.stat(key), signal)
    const verdict = readVerdict(headers, info)
    if (verdict !== undefined || (pin !== undefined && pin !== info.etag)) return await whole()
    return problemResponse(error, request, { headers: { "content-range": `bytes */${info.length ?? "*"}` } })
  }
}

const pinned = (etag: string | undefined): LoadOptions => etag === undefined ? {} : { ifMatch: etag }

/** How long a redirect works: long enough for a client to follow it, and no longer. */
const redirectExpires = "1 minute"

/**
 * A redirect to where the store itself would get the bytes from, for as long as it takes to follow it; `undefined` where
 * there is none: the store cannot presign, the object is encoded and would arrive so, or a condition forbids it.
 */
export const redirectRequest = async (
  store: ServedStore,
  key: string,
  request: Request,
): Promise<Response | undefined> => {
  const service = serviceOf(store)
  if (service.calls.presign === undefined || request.method !== "GET") return undefined
  const info = await run(service.stat(key), request.signal)
  if (info.codec !== undefined || readVerdict(request.headers, info) !== undefined) return undefined
  const { url, headers } = await run(
    service.presign("GET", key, {
      expires: redirectExpires,
      responseContentType: info.contentType,
      responseContentDisposition: disposition(key),
    }),
    request.signal,
  )
  // A redirect cannot make the client send headers.
  if (Object.keys(headers).length > 0) return undefined
  return new Response(null, { status: 307, headers: { location: url, "cache-control": "no-store" } })
}
