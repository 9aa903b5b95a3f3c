/**
 * One request to a mount of `storeRoutes`, and what its answer means. There is no second attempt here: policy makes
 * it. Redirects are never followed, since `fetch` would carry the token along. No answer is left unread or open.
 *
 * What a maintainer must keep: a refusal that the server explains is taken over with its `transient` and `ambiguous`;
 * a change that got no such answer may have happened, and is `ambiguous`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { encodeQuery } from "../../aws/encode.ts"
import { type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"
import { asItComes, noAnswerFrom } from "../../network.ts"
import { boundedText } from "../../streams/answer.ts"
import { errorFrom, parseJson, problemType } from "./wire.ts"

/** How to reach a served store. */
export interface HttpOptions {
  /** Where it is mounted: `https://host/store`. */
  readonly url: string | URL
  /** Sent as a bearer token with each request. Without one nothing is sent. */
  readonly token?: string | Redacted.Redacted<string> | undefined
  /** Further headers of each request, such as those that a proxy in between wants. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What sends a request. Default: the runtime's `fetch`. Tests give the `fetch` of a Hono app. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
}

/** A request below the mount. */
export interface Asked {
  /** The contract's name of the call: `"putPart"`. */
  readonly operation: string
  /** The object's key. */
  readonly key?: string | undefined
  readonly method: "GET" | "PUT" | "POST" | "DELETE"
  /** Escaped, from the mount on: `"/r/a/b"`. */
  readonly path: string
  /** Not escaped; what is `undefined` is left out. */
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What is sent: bytes, or a document. */
  readonly body?: Uint8Array | { readonly json: unknown } | undefined
}

/** Sends requests to one mount. */
export interface Client {
  /** An Effect of `work`, whose signal ends with the fiber. Failures that are no `StoreError` are defects. */
  readonly run: <A>(work: (signal: AbortSignal) => Promise<A>) => Effect.Effect<A, StoreError>
  /** The answer to a request, its body still to be read or cancelled. Rejects with a `StoreError` for any refusal. */
  readonly send: (asked: Asked, signal: AbortSignal) => Promise<Response>
  /** The document that answers a request, as `read` understands it. */
  readonly ask: <A>(asked: Asked, read: (value: unknown) => A | undefined, signal: AbortSignal) => Promise<A>
  /** A request that has nothing for an answer. */
  readonly tell: (asked: Asked, signal: AbortSignal) => Promise<void>
  /** A failure of this backend. */
  readonly fault: (
    asked: Asked,
    fields: Pick<StoreErrorArgs, "reason" | "detail"> & Partial<StoreErrorArgs>,
  ) => StoreError
}

/** Most bytes of a document: a list of 1,000 keys of 1,024 bytes, each escaped, is 6 MB. */
const maxDocument = 16 * 2 ** 20
/** Most bytes of an error's document. */
const maxProblem = 64 * 1024

const again = { transient: true } as const
/** What a status means when it comes from something in between that does not explain itself. */
const byStatus: Readonly<Record<number, readonly [Reason, Partial<StoreErrorArgs>?]>> = {
  304: ["NotModified"],
  401: ["Unauthorized", { hint: "give the token of this store" }],
  403: ["Forbidden"],
  // Were it NotFound, `exists` would say that an object is not there.
  404: ["Config", { hint: "check the URL: it must lead to where the routes are mounted" }],
  405: ["Config", { hint: "check the URL: it must lead to where the routes are mounted" }],
  408: ["Timeout", { ambiguous: false }],
  413: ["TooLarge", { hint: "a proxy in between takes no more; raise its limit, or give a smaller partSize" }],
  421: ["Unavailable", again],
  425: ["Unavailable", again],
  429: ["RateLimited"],
  431: ["InvalidInput", { hint: "keep less metadata: a proxy in between refuses headers of this size" }],
  500: ["Unavailable"],
  502: ["Unavailable"],
  503: ["Unavailable"],
  504: ["Timeout"],
}

const config = (detail: string, hint: string): StoreError =>
  new StoreError({ reason: "Config", operation: "open", backend: "http", detail, hint })

/** The mount's URL without a slash at its end. Throws `Config`; the URL is not repeated, since people put keys there. */
export const mountOf = (text: string | URL): URL => {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw config("the URL of the store cannot be read", 'give one such as "https://host/store"')
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw config(`the URL of the store begins with "${url.protocol}"`, 'give one such as "https://host/store"')
  }
  if (url.username !== "" || url.password !== "") {
    throw config("the URL of the store holds a user or a password", "give the option token instead")
  }
  if (url.search !== "" || url.hash !== "") {
    throw config(
      'the URL of the store has a "?" or "#"',
      "leave out what begins there; tokens go into the option token",
    )
  }
  url.pathname = url.pathname.replace(/\/+$/, "")
  return url
}

/** Makes a client. Throws `Config` where an option is wrong. */
export const makeClient = (options: HttpOptions): Client => {
  const mount = mountOf(options.url)
  const base = mount.origin + mount.pathname.replace(/\/$/, "")
  const { host } = mount
  const token = options.token === undefined
    ? undefined
    : Redacted.isRedacted(options.token)
    ? Redacted.value(options.token)
    : options.token
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw config("the token is empty or has characters that no header carries", "give the token without line ends")
  }
  const fetcher = options.fetch ?? ((url: string, init: RequestInit) => fetch(url, init))
  const always: Record<string, string> = {
    ...options.headers,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    // Every runtime undoes an encoding in its own way, and some lose bytes.
    "accept-encoding": "identity",
  }

  const fault: Client["fault"] = ({ operation, key, method }, fields) =>
    new StoreError({ ambiguous: method === "GET" ? false : undefined, ...fields, operation, key, backend: "http" })

  /** A text of the other end's, without our token should it repeat it. */
  const clean = (text: string): string => token === undefined ? text : text.replaceAll(token, "…")

  const refusal = async (asked: Asked, response: Response): Promise<StoreError> => {
    const { status } = response
    const { operation, key, method } = asked
    const text = await boundedText(response, maxProblem)
    if ((response.headers.get("content-type") ?? "").startsWith(problemType) && text !== undefined) {
      const said = errorFrom(parseJson(clean(text)), { operation, key, backend: "http" })
      if (said !== undefined) return said
    }
    if (status >= 300 && status < 400 && status !== 304) {
      return fault(asked, {
        reason: "Config",
        detail: `the server answered with a redirect (status ${status}), which is not followed`,
        hint: "give the URL that it leads to; the token is sent nowhere else",
      })
    }
    const [reason, more] = byStatus[status] ?? [status >= 500 ? "Unavailable" : "Protocol"]
    const wait = response.headers.get("retry-after") ?? ""
    return fault(asked, {
      reason,
      detail: status === 304 ? "its etag is still the same" : `the server answered with status ${status}`,
      retryAfter: /^\d{1,6}$/.test(wait) ? Number(wait) * 1000 : undefined,
      // What is not ours did not pass it on either, unless it lost the answer.
      ...(status < 500 || method === "GET" ? { ambiguous: false } : {}),
      ...more,
    })
  }

  const send: Client["send"] = async (asked, signal) => {
    const { method, path, body } = asked
    const query = Object.entries(asked.query ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)] as const]
    )
    const url = `${base}${path}${query.length === 0 ? "" : `?${encodeQuery(Object.fromEntries(query))}`}`
    const content: { headers: Record<string, string>; body?: BodyInit } = body === undefined
      ? { headers: {} }
      : body instanceof Uint8Array
      ? { headers: { "content-type": "application/octet-stream" }, body: body as Uint8Array<ArrayBuffer> }
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body.json) }
    let response: Response
    try {
      response = await fetcher(url, {
        ...asItComes,
        method,
        signal,
        ...content,
        headers: { ...content.headers, ...asked.headers, ...always },
      })
    } catch (error) {
      throw fault(asked, noAnswerFrom(host, error))
    }
    if (signal.aborted) {
      await response.body?.cancel().catch(() => undefined)
      signal.throwIfAborted()
    }
    if (response.status < 200 || response.status > 299) throw await refusal(asked, response)
    const encoding = response.headers.get("content-encoding") ?? "identity"
    if (encoding !== "identity") {
      await response.body?.cancel().catch(() => undefined)
      throw fault(asked, {
        reason: "Unsupported",
        detail: `the answer is encoded with ${JSON.stringify(encoding.slice(0, 40))}, which was not asked for`,
        hint: "take away what compresses answers on the way from the store",
      })
    }
    return response
  }

  return {
    send,
    fault,
    run: (work) =>
      Effect.tryPromise({
        try: work,
        catch: (error) => {
          if (StoreError.is(error)) return error
          throw error
        },
      }),
    ask: async (asked, read, signal) => {
      const response = await send(asked, signal)
      const text = await boundedText(response, maxDocument)
      if (text === undefined) {
        throw fault(asked, { reason: "Unavailable", detail: "the answer broke off, or is too long" })
      }
      const answer = read(parseJson(text))
      if (answer === undefined) {
        throw fault(asked, {
          reason: "Protocol",
          detail: "the answer is not what a Holdfast store answers",
          hint: "check the URL, and that no proxy answers in the store's place",
        })
      }
      return answer
    },
    tell: async (asked, signal) => {
      const response = await send(asked, signal)
      await boundedText(response, maxProblem)
    },
  }
}
