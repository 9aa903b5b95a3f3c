/**
 * One request to a WebDAV server, and what its answer means. There is no second attempt here: policy makes it. Redirects
 * are never followed, since `fetch` would carry the credentials along. No answer is left unread or open.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import { type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"
import { asItComes, noAnswerFrom } from "../../network.ts"

/** How to reach a folder on a WebDAV server. */
export interface WebdavOptions {
  /** The folder: `https://host/dav/data`. It must be there. */
  readonly url: string | URL
  /** Who asks, with HTTP's basic authentication. Without one nothing is sent. */
  readonly user?: string | undefined
  /** Their password. */
  readonly password?: string | Redacted.Redacted<string> | undefined
  /** Sent as a bearer token instead. */
  readonly token?: string | Redacted.Redacted<string> | undefined
  /** Further headers of each request, such as those that a proxy in between wants. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What sends a request. Default: the runtime's `fetch`. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
}

/** A request below the folder. */
export interface Asked {
  /** The contract's name of the call. */
  readonly operation: string
  readonly key?: string | undefined
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE" | "PROPFIND" | "MKCOL" | "MOVE"
  /** Escaped, from the folder on: `"/a/b"`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | string | undefined
  /** Statuses that are answers and no failures, besides 200 to 299. */
  readonly also?: ReadonlyArray<number> | undefined
}

/** Sends requests to one server. */
export interface Client {
  /** The answer, its body still to be read or cancelled. Rejects with a `StoreError` for any refusal. */
  readonly send: (asked: Asked, signal: AbortSignal) => Promise<Response>
  /** The same where nothing but the status and the headers matters; the body is given up. */
  readonly tell: (asked: Asked, signal: AbortSignal) => Promise<Response>
  /** The whole body of an answer as text. */
  readonly text: (asked: Asked, response: Response, most: number) => Promise<string>
  /** What a status that is no answer means. */
  readonly refusal: (asked: Asked, response: Response) => StoreError
  /** The URL of a path, for `Destination`. */
  readonly urlOf: (path: string) => string
  /** The path of the folder on the server. */
  readonly basePath: string
  readonly fault: (
    asked: Asked,
    fields: Pick<StoreErrorArgs, "reason" | "detail"> & Partial<StoreErrorArgs>,
  ) => StoreError
}

const config = (detail: string, hint: string): StoreError =>
  new StoreError({ reason: "Config", operation: "open", backend: "webdav", detail, hint })

/** The folder's URL without a slash at its end. Throws `Config`; the URL is not repeated, since people put keys there. */
const folderOf = (text: string | URL): URL => {
  if (!URL.canParse(String(text))) throw config("the URL of the store cannot be read", 'give "https://host/dav/data"')
  const url = new URL(text)
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw config(`the URL of the store begins with "${url.protocol}"`, 'give one such as "https://host/dav/data"')
  }
  if (url.username !== "" || url.password !== "") {
    throw config("the URL of the store holds a user or a password", "give the options user and password instead")
  }
  if (url.search !== "" || url.hash !== "") {
    throw config('the URL of the store has a "?" or "#"', "leave out what begins there")
  }
  url.pathname = url.pathname.replace(/\/+$/, "")
  return url
}

const plain = (secret: string | Redacted.Redacted<string> | undefined): string | undefined =>
  secret === undefined ? undefined : Redacted.isRedacted(secret) ? Redacted.value(secret) : secret

const authorizationOf = ({ user, password, token }: WebdavOptions): Record<string, string> => {
  const secret = plain(token)
  if (secret !== undefined) {
    if (user !== undefined || password !== undefined) throw config("both a token and a user are given", "give one")
    if (!/^[\x21-\x7e]+$/.test(secret)) throw config("the token is empty or has characters that no header carries", "")
    return { authorization: `Bearer ${secret}` }
  }
  if (user === undefined && password === undefined) return {}
  if (user === undefined || user.includes(":")) throw config("the user is missing or has a colon", "correct the user")
  const bytes = new TextEncoder().encode(`${user}:${plain(password) ?? ""}`)
  return { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` }
}

const again = { transient: true } as const
/** What a status means. 409 has many meanings here; who asks says which. */
const byStatus: Readonly<Record<number, readonly [Reason, Partial<StoreErrorArgs>?]>> = {
  400: ["InvalidInput"],
  401: ["Unauthorized"],
  403: ["Forbidden"],
  404: ["NotFound"],
  405: ["Config", { hint: "check the URL: it must lead to a folder of a WebDAV server" }],
  408: ["Timeout", { ambiguous: false }],
  409: ["Conflict", again],
  410: ["NotFound"],
  411: ["Unsupported"],
  412: ["PreconditionFailed"],
  413: ["TooLarge", { hint: "the server takes no more in one request; raise its limit" }],
  414: ["InvalidKey"],
  416: ["RangeNotSatisfiable"],
  423: ["Conflict", { ...again, hint: "somebody holds a lock on it; wait until it ends, or take it away" }],
  425: ["Unavailable", again],
  429: ["RateLimited"],
  500: ["Unavailable"],
  502: ["Unavailable"],
  503: ["Unavailable"],
  504: ["Timeout"],
  507: ["NoSpace"],
}

const reads: ReadonlyArray<string> = ["GET", "HEAD", "PROPFIND"]

/** Makes a client. Throws `Config` where an option is wrong. */
export const makeClient = (options: WebdavOptions): Client => {
  const folder = folderOf(options.url)
  const base = folder.origin + folder.pathname.replace(/\/$/, "")
  const fetcher = options.fetch ?? ((url: string, init: RequestInit) => fetch(url, init))
  const always: Record<string, string> = {
    ...options.headers,
    ...authorizationOf(options),
    // Every runtime undoes an encoding in its own way, and some lose bytes.
    "accept-encoding": "identity",
  }

  const fault: Client["fault"] = ({ operation, key, method }, fields) =>
    new StoreError({
      ambiguous: reads.includes(method) ? false : undefined,
      ...fields,
      operation,
      key,
      backend: "webdav",
    })

  const refusal = (asked: Asked, { status, headers }: Response): StoreError => {
    if (status >= 300 && status < 400) {
      return fault(asked, {
        reason: "Config",
        ambiguous: false,
        detail: `the server answered with a redirect (status ${status}), which is not followed`,
        hint: "give the URL that it leads to; credentials are sent nowhere else",
      })
    }
    const [reason, more] = byStatus[status] ?? [status >= 500 ? "Unavailable" : "Protocol"]
    const wait = headers.get("retry-after") ?? ""
    return fault(asked, {
      reason,
      detail: `the server answered ${asked.method} with status ${status}`,
      retryAfter: /^\d{1,6}$/.test(wait) ? Number(wait) * 1000 : undefined,
      ...(status < 500 || status === 507 || reads.includes(asked.method) ? { ambiguous: false } : {}),
      ...more,
    })
  }

  const send: Client["send"] = async (asked, signal) => {
    const { method, path, body, also = [] } = asked
    let response: Response
    try {
      response = await fetcher(base + path, {
        ...asItComes,
        method,
        signal,
        ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> | string }),
        headers: { ...asked.headers, ...always },
      })
    } catch (error) {
      throw fault(asked, noAnswerFrom(folder.host, error))
    }
    const give = async (error: unknown): Promise<never> => {
      await response.body?.cancel().catch(() => undefined)
      throw error
    }
    if (signal.aborted) return await give(signal.reason)
    const { status } = response
    // 207 to anything but PROPFIND says that parts of it have failed.
    const partly = status === 207 && method !== "PROPFIND"
    if (!also.includes(status) && (status < 200 || status > 299 || partly)) {
      return await give(
        partly
          ? fault(asked, {
            reason: "Conflict",
            transient: true,
            ambiguous: true,
            detail: "the server did a part of it",
          })
          : refusal(asked, response),
      )
    }
    const encoding = response.headers.get("content-encoding") ?? "identity"
    if (encoding !== "identity") {
      return await give(fault(asked, {
        reason: "Unsupported",
        detail: `the answer is encoded with ${JSON.stringify(encoding.slice(0, 40))}, which was not asked for`,
        hint: "take away what compresses answers on the way from the server",
      }))
    }
    return response
  }

  return {
    send,
    fault,
    refusal,
    basePath: folder.pathname.replace(/\/$/, ""),
    urlOf: (path) => base + path,
    tell: async (asked, signal) => {
      const response = await send(asked, signal)
      // Read rather than cancelled: the connection can be used again.
      await response.arrayBuffer().catch(() => undefined)
      return response
    },
    text: async (asked, response, most) => {
      const broken = fault(asked, { reason: "Unavailable", detail: "the answer broke off" })
      const decoder = new TextDecoder()
      let [text, size] = ["", 0]
      const reader = response.body?.getReader()
      while (reader !== undefined) {
        const { done, value } = await reader.read().catch(() => {
          throw broken
        })
        if (done) break
        size += value.length
        if (size > most) {
          await reader.cancel().catch(() => undefined)
          throw fault(asked, { reason: "TooLarge", detail: `the server's answer has more than ${most} bytes` })
        }
        text += decoder.decode(value, { stream: true })
      }
      return text + decoder.decode()
    },
  }
}
