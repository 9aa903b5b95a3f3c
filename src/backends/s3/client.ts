/**
 * One request to S3: signed, sent, and its answer judged.
 *
 * A request has one target text, which is both signed and sent. Redirects are never followed, since `fetch` would
 * carry keys and tokens along; what they teach, the bucket's region, is kept for the next attempt, and so is a
 * wrong clock and credentials that have ended. There is no second attempt here: policy makes it, freshly signed. No
 * answer is left unread or open, and everything that waits ends with the signal of the call.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { encodeKey, encodeQuery } from "../../aws/encode.ts"
import { emptyPayload, type SignedRequest, Signer } from "../../aws/sign.ts"
import { StoreError } from "../../error.ts"
import { asItComes } from "../../network.ts"
import { boundedText } from "../../streams/answer.ts"
import { type Asked, noAnswer, oddAnswer, readError, refusal, type Refused, requestIdOf } from "./errors.ts"
import type { Settings } from "./options.ts"
import { parseXml, type XmlElement } from "./xml.ts"

/** A request within the bucket. */
export interface S3Request extends Asked {
  /** `"GET"`, `"PUT"` … */
  readonly method: string
  /** The object, without the store's prefix; `undefined`: the bucket itself. */
  readonly path?: string | undefined
  /** Not escaped. */
  readonly query?: Readonly<Record<string, string>> | undefined
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What is sent. */
  readonly body?: Uint8Array | undefined
  /** The body's part in the signature. Default: no body. */
  readonly payloadHash?: string | undefined
}

/** Sends requests to one bucket. */
export interface Client {
  /** What the store is made of. */
  readonly settings: Settings
  /** An Effect of `work`, whose signal ends with the fiber. Failures that are no `StoreError` are defects. */
  readonly run: <A>(work: (signal: AbortSignal) => Promise<A>) => Effect.Effect<A, StoreError>
  /** The answer to a request, its body still to be read or cancelled. Rejects with a `StoreError` for any refusal. */
  readonly send: (request: S3Request, signal: AbortSignal) => Promise<Response>
  /** The answer to a request that has nothing to say. */
  readonly sendOff: (request: S3Request, signal: AbortSignal) => Promise<Headers>
  /** The document that answers a request. An error in the body of a 200 is an error. */
  readonly ask: (
    request: S3Request,
    root: string,
    signal: AbortSignal,
  ) => Promise<{ readonly document: XmlElement; readonly headers: Headers }>
  /** Signs a request as a URL. */
  readonly presign: (
    request: S3Request,
    expires: number,
  ) => Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly expires: Date }>
}

/** Most bytes of an error's body that are read. */
const maxErrorBytes = 64 * 1024

/** Most bytes of a document: a list of 1,000 keys of 1,024 bytes, each byte escaped, is 4 MB. */
const maxDocumentBytes = 16 * 1024 * 1024

/** Codes of refusals that name the right region. */
const misdirected: ReadonlySet<string> = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
])

/** Makes a client. Throws `Config` where the credentials given are incomplete. */
export const makeClient = (settings: Settings): Client => {
  const { credentials, clock } = settings
  const placeIn = (region: string) => ({
    region,
    origin: settings.originIn(region),
    host: new URL(settings.originIn(region)).host,
    signer: credentials === undefined ? undefined : new Signer({ region, credentials, clock }),
  })
  let place = placeIn(settings.region)

  const pathOf = (path: string | undefined): string =>
    path === undefined ? settings.base : settings.base + settings.prefix + path

  const signed = async (request: S3Request, at: typeof place): Promise<SignedRequest | undefined> => {
    if (at.signer === undefined) return undefined
    const { method, query } = request
    const headers = { ...settings.headers, ...request.headers }
    return await at.signer.sign(
      { method, origin: at.origin, path: pathOf(request.path), query, headers },
      request.payloadHash ?? emptyPayload,
    )
  }

  /** Takes from a refusal what makes the next attempt a better one; whether there is something. */
  const learn = (asked: SignedRequest | undefined, at: typeof place, refused: Refused): boolean => {
    const { code, region = refused.headers.get("x-amz-bucket-region") ?? undefined } = refused.document
    const redirects = code === undefined ? refused.status >= 300 && refused.status < 400 : misdirected.has(code)
    // A HEAD is told with a status and a header alone.
    const headed = code === undefined && refused.status === 400 && region !== undefined
    if (settings.followsRegion && (redirects || headed) && region !== undefined && region !== at.region) {
      if (!/^[a-z]{2}(?:-[a-z]+)+-\d+$/.test(region)) return false
      if (place.region !== region) place = placeIn(region)
      return true
    }
    return asked !== undefined && at.signer !== undefined &&
      at.signer.learn(asked, { status: refused.status, code, headers: refused.headers })
  }

  /** Why a HEAD was refused: its answer has no body, so the same is asked with a GET of one byte. */
  const explain = async (request: S3Request, signal: AbortSignal): Promise<StoreError | undefined> => {
    const { "if-match": _match, "if-none-match": _noneMatch, ...headers } = request.headers ?? {}
    try {
      const answer = await send({ ...request, method: "GET", headers: { ...headers, range: "bytes=0-0" } }, signal)
      await answer.body?.cancel().catch(() => undefined)
      return undefined
    } catch (error) {
      return StoreError.is(error) && error.reason !== "RangeNotSatisfiable" ? error : undefined
    }
  }

  const send: Client["send"] = async (request, signal) => {
    const at = place
    let ticket: SignedRequest | undefined
    try {
      ticket = await signed(request, at)
    } catch (error) {
      const { operation, key } = request
      throw StoreError.is(error) ? error.with({ operation, key, backend: "s3" }) : error
    }
    signal.throwIfAborted()
    const query = request.query === undefined ? "" : encodeQuery(request.query)
    const url = ticket?.url ?? `${at.origin}${encodeKey(pathOf(request.path))}${query === "" ? "" : `?${query}`}`
    const headers = ticket?.headers ?? { ...settings.headers, ...request.headers }
    let response: Response
    try {
      response = await settings.fetch(url, {
        ...asItComes,
        method: request.method,
        headers: { ...headers, "accept-encoding": "identity" },
        signal,
        ...(request.body === undefined ? {} : { body: request.body as BodyInit }),
      })
    } catch (error) {
      throw noAnswer(request, error, at.host)
    }
    if (signal.aborted) {
      await response.body?.cancel().catch(() => undefined)
      signal.throwIfAborted()
    }
    if (response.status >= 200 && response.status < 300) return response
    const document = readError(await boundedText(response, maxErrorBytes) ?? "")
    const refused = { status: response.status, headers: response.headers, document }
    const refusedError = refusal(request, refused, settings.bucket)
    const { keysHint } = settings.profile
    const unfit = refusedError.reason === "Unauthorized" || refusedError.reason === "Forbidden"
    const error = unfit && keysHint !== undefined ? refusedError.with({ hint: keysHint }) : refusedError
    if (learn(ticket, at, refused)) throw error.with({ transient: true, ambiguous: false })
    const silent = request.method === "HEAD" && (response.status === 400 || response.status === 403)
    throw (silent ? await explain(request, signal) : undefined) ?? error
  }

  const sendOff: Client["sendOff"] = async (request, signal) => {
    const response = await send(request, signal)
    const text = await boundedText(response, maxErrorBytes)
    // Some gateways put an error behind a 200 here as well; any other text is no matter of ours.
    if (text !== undefined && text.includes("<Error>")) failInside(request, response, text)
    return response.headers
  }

  /** Throws the error that the body of a success holds. */
  const failInside = (request: S3Request, { headers }: Response, text: string): void => {
    const document = readError(text)
    if (document.code !== undefined) throw refusal(request, { status: 200, headers, document }, settings.bucket)
  }

  const ask: Client["ask"] = async (request, root, signal) => {
    const response = await send(request, signal)
    const { headers } = response
    const text = await boundedText(response, maxDocumentBytes)
    const odd = (detail: string, more?: { readonly transient: boolean }): StoreError =>
      oddAnswer(request, detail, { ...more, requestId: requestIdOf(headers) })
    if (text === undefined) throw odd("the answer broke off, or is too long", { transient: !request.mutates })
    failInside(request, response, text)
    let document: XmlElement
    try {
      document = parseXml(text)
    } catch (error) {
      throw odd(`the answer is no XML document: ${(error as SyntaxError).message}`)
    }
    if (document.name !== root) throw odd(`the answer is a ${document.name.slice(0, 40)}, expected ${root}`)
    return { document, headers }
  }

  return {
    settings,
    send,
    sendOff,
    ask,
    run: (work) =>
      Effect.tryPromise({
        try: work,
        catch: (error) => {
          if (StoreError.is(error)) return error
          throw error
        },
      }),
    presign: async (request, expires) => {
      const at = place
      if (at.signer === undefined) {
        throw new StoreError({
          reason: "Unauthorized",
          detail: "an anonymous store cannot sign a request",
          hint: "give credentials",
          operation: request.operation,
          key: request.key,
          backend: "s3",
        })
      }
      const { method, query } = request
      const headers = { ...settings.headers, ...request.headers }
      return await at.signer.presign(
        { method, origin: at.origin, path: pathOf(request.path), query, headers },
        expires,
      )
    },
  }
}
