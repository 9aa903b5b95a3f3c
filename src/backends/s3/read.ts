/**
 * Reads: facts of an object, and its bytes. An answer is held against what was asked before a byte of it is handed
 * out: length, range, etag and write id.
 *
 * @module
 */
import type { GetOptions, GetResult, ObjectInfo, StatOptions } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { exactBody } from "../../streams/answer.ts"
import type { Client, S3Request } from "./client.ts"
import { keyHeaders } from "./encryption.ts"
import { type Asked, noAnswer, oddAnswer, requestIdOf } from "./errors.ts"
import { infoFrom, namesWrite, serviceEtag } from "./head.ts"

const failure = (reason: "PreconditionFailed" | "NotModified" | "RangeNotSatisfiable", asked: Asked, detail: string) =>
  new StoreError({ reason, detail, operation: asked.operation, key: asked.key, backend: "s3", ambiguous: false })

/** The error for a validator that is not the object's. */
export const mismatch = (asked: Asked, wanted: string, found: string | undefined): StoreError =>
  failure(
    "PreconditionFailed",
    asked,
    `${found === undefined ? "there is no such object" : `its etag is "${found}"`}, ifMatch asks for "${wanted}"`,
  )

/** What reads of an object have in common. */
const reading = async (
  { settings: { profile } }: Client,
  operation: string,
  key: string,
  { versionId, customerKey }: StatOptions,
): Promise<S3Request & { readonly headers: Readonly<Record<string, string>> }> => ({
  operation,
  key,
  path: key,
  method: "GET",
  mutates: false,
  query: versionId === undefined ? undefined : { versionId },
  headers: {
    ...(profile.protection === "crc32" ? { "x-amz-checksum-mode": "ENABLED" } : {}),
    ...await keyHeaders(customerKey),
  },
})

const sizeFrom = (headers: Headers): number | undefined => {
  const length = headers.get("content-length")
  return length !== null && /^\d{1,16}$/.test(length) ? Number(length) : undefined
}

/** Facts of an object and the headers that they come from, by HEAD. `operation` is what the caller is doing. */
export const look = async (
  client: Client,
  operation: string,
  key: string,
  options: StatOptions,
  signal: AbortSignal,
): Promise<{ readonly info: ObjectInfo; readonly headers: Headers }> => {
  const request = { ...await reading(client, operation, key, options), method: "HEAD" }
  const { headers } = await client.send(request, signal)
  const size = sizeFrom(headers)
  const info = size === undefined ? undefined : infoFrom(key, headers, size)
  if (info !== undefined) return { info, headers }
  throw oddAnswer(request, "the answer has no etag, length or date of an object", { requestId: requestIdOf(headers) })
}

/** Facts of an object. */
export const stat = async (...asked: Parameters<typeof look>): Promise<ObjectInfo> => (await look(...asked)).info

/** The object as it is now, or `undefined`. */
export const statIfThere = async (
  client: Client,
  operation: string,
  key: string,
  signal: AbortSignal,
): Promise<ObjectInfo | undefined> => {
  try {
    return await stat(client, operation, key, {}, signal)
  } catch (error) {
    if (StoreError.is(error) && error.reason === "NotFound") return undefined
    throw error
  }
}

/** The part of an object that an answer holds. */
interface Span {
  readonly offset: number
  readonly length: number
  readonly size: number
}

/** The span of a 206; `undefined` where its headers are none. */
const rangeFrom = (headers: Headers): Span | undefined => {
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(headers.get("content-range") ?? "")
  if (match === null) return undefined
  const [first, last, size] = match.slice(1).map(Number) as [number, number, number]
  const length = last - first + 1
  const said = sizeFrom(headers)
  return length < 1 || last >= size || (said !== undefined && said !== length)
    ? undefined
    : { offset: first, length, size }
}

const isEncoded = (headers: Headers): boolean =>
  !/^(?:|identity|aws-chunked)$/i.test((headers.get("content-encoding") ?? "").trim())

/** Facts and bytes. */
export const get = async (
  client: Client,
  key: string,
  options: GetOptions,
  signal: AbortSignal,
): Promise<GetResult> => {
  const { offset = 0, length, ifMatch, ifNoneMatch } = options
  const base = await reading(client, "get", key, options)
  if (length === 0) return await getNothing(client, base, key, options, signal)
  const request: S3Request = {
    ...base,
    condition: ifMatch === undefined ? undefined : "match",
    headers: {
      ...base.headers,
      ...(offset === 0 && length === undefined
        ? {}
        : { range: `bytes=${offset}-${length === undefined ? "" : offset + length - 1}` }),
      ...(ifMatch === undefined ? {} : { "if-match": `"${serviceEtag(ifMatch)}"` }),
      ...(ifNoneMatch === undefined ? {} : { "if-none-match": `"${serviceEtag(ifNoneMatch)}"` }),
    },
  }
  let response: Response
  try {
    response = await client.send(request, signal)
  } catch (error) {
    if (!StoreError.is(error) || ifNoneMatch === undefined || error.reason !== "NotModified") throw error
    // The bytes are the same; whether it is the same write, the answer does not say.
    if (!namesWrite(ifNoneMatch)) throw error
    const now = await stat(client, "get", key, options, signal)
    if (now.etag === ifNoneMatch) throw error
    return await get(client, key, { ...options, ifNoneMatch: undefined }, signal)
  }
  if (isEncoded(response.headers)) {
    // Another fetch may have decoded it behind our back, so the answer is of no use; this one is not to say so.
    await response.body?.cancel().catch(() => undefined)
    const plainly = { ...request.query, "response-content-encoding": "identity" }
    if (client.settings.credentials !== undefined) response = await client.send({ ...request, query: plainly }, signal)
    if (isEncoded(response.headers)) {
      await response.body?.cancel().catch(() => undefined)
      throw new StoreError({
        reason: "Unsupported",
        detail: `the answer is encoded with ${response.headers.get("content-encoding")}, which the runtime may undo`,
        hint: "store the object without content-encoding, or take away the proxy that compresses answers",
        operation: "get",
        key,
        backend: "s3",
      })
    }
  }
  try {
    return resultFrom(request, key, options, response)
  } catch (error) {
    await response.body?.cancel().catch(() => undefined)
    throw error
  }
}

/** A range without bytes, which HTTP cannot ask for: the facts alone. */
const getNothing = async (
  client: Client,
  asked: Asked,
  key: string,
  options: GetOptions,
  signal: AbortSignal,
): Promise<GetResult> => {
  const info = await stat(client, "get", key, options, signal)
  const { offset = 0, ifMatch, ifNoneMatch } = options
  if (ifMatch !== undefined && !matches(ifMatch, info)) throw mismatch(asked, ifMatch, info.etag)
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, info)) throw notModified(asked, ifNoneMatch)
  if (offset > info.size) throw beyond(asked, info.size, offset)
  return { info, offset, length: 0, body: new Blob([]).stream() }
}

const notModified = (asked: Asked, etag: string): StoreError =>
  failure("NotModified", asked, `its etag is still "${etag}"`)

const beyond = (asked: Asked, size: number, offset: number): StoreError =>
  failure("RangeNotSatisfiable", asked, `the object has ${size} bytes, the range starts at ${offset}`)

/** Whether a validator is the object's; one without a write id is compared with the service's etag. */
export const matches = (validator: string, info: ObjectInfo): boolean =>
  validator === info.etag || (!namesWrite(validator) && validator === serviceEtag(info.etag))

const resultFrom = (
  asked: Asked,
  key: string,
  { offset = 0, length, ifMatch, ifNoneMatch }: GetOptions,
  response: Response,
): GetResult => {
  const { headers, status } = response
  const more = { requestId: requestIdOf(headers) }
  const partial = status === 206
  const whole = partial ? undefined : sizeFrom(headers)
  const span = partial
    ? rangeFrom(headers)
    : whole === undefined
    ? undefined
    : { offset: 0, length: whole, size: whole }
  if (span === undefined) {
    throw oddAnswer(asked, `the answer (status ${status}) does not say how long its body is`, more)
  }
  const { size } = span
  const info = infoFrom(key, headers, size)
  if (info === undefined) throw oddAnswer(asked, "the answer has no etag or date of an object", more)
  if (ifMatch !== undefined && !matches(ifMatch, info)) throw mismatch(asked, ifMatch, info.etag)
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, info)) throw notModified(asked, ifNoneMatch)
  const rest = size - offset
  if (rest < 0 || (rest === 0 && (length !== undefined || offset > 0))) throw beyond(asked, size, offset)
  const promised = Math.min(length ?? rest, rest)
  if (partial && (span.offset !== offset || span.length !== promised)) {
    // Perhaps the answer to somebody else's request; on another connection it may be ours.
    throw oddAnswer(
      asked,
      `the answer holds ${span.length} bytes from ${span.offset}, asked were ${promised} from ${offset}`,
      { ...more, transient: true },
    )
  }
  const body = exactBody(response.body ?? new Blob([]).stream(), {
    // A service may ignore a range and send it all.
    skip: offset - span.offset,
    length: promised,
    more: span.offset + span.length > offset + promised,
    truncated: (delivered) =>
      new StoreError({
        reason: "Truncated",
        detail: `the body ended after ${delivered} of ${promised} bytes`,
        operation: "get",
        key,
        backend: "s3",
        ...more,
      }),
    excess: () => oddAnswer(asked, `the body has more than the ${promised} bytes that were promised`, more),
    broken: (delivered, cause) =>
      noAnswer(asked, cause).with({
        detail: `the body broke after ${delivered} of ${promised} bytes: network failure`,
        transient: true,
        ...more,
      }),
  })
  return { info, offset, length: promised, body }
}
