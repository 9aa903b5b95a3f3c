/**
 * HAI's endpoint of public keys, from both sides: `GET {base}/jacs/v1/agents/{id}/keys/{version|latest}`.
 *
 * The answer is a JSON object. JACS reads `public_key` (base64, or PEM around it), `algorithm` and `public_key_hash`;
 * HAI's own clients also `jacs_id`, `version`, `public_key_raw_b64` and `status`. All of them are sent here. Read are
 * the key, `jacs_id`, `version`, `algorithm` and `status`; the hash is computed.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { StoreError } from "../error.ts"
import { optionFlaw } from "../flaw.ts"
import { noAnswerFrom } from "../network.ts"
import { run } from "../run.ts"
import { publicKeyHash } from "../stores/documents.ts"
import { fromBase64, toBase64 } from "../stores/document-signature.ts"
import { boundedText } from "../streams/answer.ts"
import type { AgentKey, AgentKeys } from "./hai-keys.ts"
import type { JacsEnvironment } from "./jacs-config.ts"
import { currentEnvironment } from "./jacs-host.ts"

/** Options of {@link makeHaiKeys}. */
export interface HaiKeysOptions {
  /** Where variables are read, once. Default: the process's environment. */
  readonly env?: JacsEnvironment | undefined
  /** Sends requests. Default: the runtime's `fetch`. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
}

const defaultBase = "https://hai.ai"
const defaultRetries = 3
/** JACS' own time for one attempt. */
const attemptTimeout = "30 seconds"
/** The most bytes of an answer; keys of all algorithms that JACS has are under 4 KiB. */
const maxAnswer = 64 * 1024

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const failed = (
  reason: StoreError["reason"],
  detail: string,
  more: { readonly hint?: string; readonly transient?: boolean; readonly cause?: unknown } = {},
): StoreError => new StoreError({ reason, detail, operation: "publicKeyOf", ambiguous: false, ...more })

/** The first of some variables that is set. */
const variable = (env: JacsEnvironment, names: ReadonlyArray<string>): { name: string; value: string } | undefined => {
  for (const name of names) {
    const value = env[name]
    if (value !== undefined && value !== "") return { name, value }
  }
  return undefined
}

const baseOf = (env: JacsEnvironment): URL => {
  const found = variable(env, ["JACS_KEYS_BASE_URL", "HAI_KEYS_BASE_URL"]) ?? { name: "", value: defaultBase }
  const url = URL.parse(found.value)
  const local = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url?.hostname ?? "")
  const scheme = url?.protocol === "https:" || (url?.protocol === "http:" && local)
  // What a URL may hold besides, such as a password, is not repeated.
  if (url === null || !scheme || `${url.username}${url.password}${url.search}${url.hash}` !== "") {
    throw new StoreError({
      reason: "Config",
      detail: `${found.name} is not the address of a key service`,
      hint: 'write "https://host"; http is for localhost alone',
      operation: "open",
    })
  }
  url.pathname = url.pathname.replace(/\/+$/, "")
  return url
}

const retriesOf = (env: JacsEnvironment): number => {
  const found = variable(env, ["JACS_KEY_FETCH_RETRIES", "HAI_KEY_FETCH_RETRIES"])
  if (found === undefined) return defaultRetries
  const retries = Number(found.value)
  const detail = optionFlaw(found.name, retries, 0, 10)
  if (detail !== undefined) throw new StoreError({ reason: "Config", detail, operation: "open" })
  return retries
}

/** DER before the 32 bytes of a key of Ed25519. Source: RFC 8410, section 4. */
const spkiHead = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0)

/** The bytes of a key in base64, in PEM or not; that of Ed25519 without the DER around it. */
const decodedKey = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = fromBase64(text.replaceAll(/-----[A-Z ]+-----/g, "").replaceAll(/\s/g, ""))
  if (bytes === undefined || bytes.length === 0) return undefined
  const wrapped = bytes.length === spkiHead.length + 32 && spkiHead.every((byte, i) => byte === bytes[i])
  return wrapped ? bytes.slice(spkiHead.length) : bytes
}

const parsed = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

/** The key that an answer holds. */
const keyIn = async (host: string, text: string, agentId: string, version: string): Promise<AgentKey> => {
  const answer = parsed(text)
  const field = (name: string): string | undefined => {
    const value = answer?.[name]
    return typeof value === "string" && value !== "" ? value : undefined
  }
  const encoded = field("public_key_raw_b64") ?? field("public_key")
  const publicKey = encoded === undefined ? undefined : decodedKey(encoded)
  if (publicKey === undefined) throw failed("Protocol", `what ${host} answered holds no public key`)
  if (field("jacs_id")?.toLowerCase().startsWith(agentId.toLowerCase()) === false) {
    throw failed("Protocol", `${host} answered with the key of another agent`)
  }
  return {
    agentId,
    version: field("version") ?? version,
    publicKey,
    publicKeyHash: await publicKeyHash(publicKey),
    algorithm: field("algorithm") ?? "",
    status: field("status"),
  }
}

/** The failure that a status is, or `undefined` if it is none. */
const statusFailure = (host: string, status: number, what: string): StoreError | undefined => {
  if (status === 200) return undefined
  if (status === 404) {
    return failed("NotFound", `${host} has no public key of ${what}`, { hint: "check id and version" })
  }
  const detail = `${host} answered with status ${status}`
  if (status === 401) return failed("Unauthorized", detail)
  if (status === 403) return failed("Forbidden", detail)
  if (status === 429) return failed("RateLimited", detail)
  // Also of redirects: one could lead to where nothing is encrypted.
  return status >= 500 ? failed("Unavailable", detail) : failed("Protocol", detail)
}

/** Looks keys up, as {@link makeHaiKeys} does, in Effect. */
export const haiKeyLookup = (
  options: HaiKeysOptions,
): (agentId: string, version: string) => Effect.Effect<AgentKey, StoreError> => {
  const env = options.env ?? currentEnvironment()
  const base = baseOf(env)
  const times = retriesOf(env)
  const send = options.fetch ?? ((url, init) => fetch(url, init))
  const { host } = base

  const ask = async (agentId: string, version: string, signal: AbortSignal): Promise<AgentKey> => {
    const path = `/jacs/v1/agents/${agentId}/keys/${version}`
    const url = `${base.origin}${base.pathname.replace(/\/$/, "")}${path}`
    const response = await send(url, { headers: { accept: "application/json" }, redirect: "manual", signal })
    const failure = statusFailure(host, response.status, `agent ${agentId}, version ${version}`)
    if (failure !== undefined) {
      await response.body?.cancel()
      throw failure
    }
    const text = await boundedText(response, maxAnswer)
    if (text === undefined) throw failed("Unavailable", `the answer of ${host} broke off, or has more than 64 KiB`)
    return await keyIn(host, text, agentId, version)
  }

  return (agentId, version) => {
    if (!uuid.test(agentId) || (version !== "latest" && !uuid.test(version))) {
      const hint = 'give UUIDs, or "latest" as the version'
      return Effect.fail(failed("InvalidKey", "the id or the version of the agent is no UUID", { hint }))
    }
    const attempt = Effect.tryPromise({
      try: (signal) => ask(agentId, version, signal),
      catch: (error) => {
        if (StoreError.is(error)) return error
        const { reason, detail, ...more } = noAnswerFrom(host, error)
        return failed(reason, detail, more)
      },
    })
    return attempt.pipe(
      Effect.timeoutOrElse({
        duration: attemptTimeout,
        orElse: () => Effect.fail(failed("Timeout", `${host} did not answer within ${attemptTimeout}`)),
      }),
      Effect.retry({ times, schedule: Schedule.exponential("1 second"), while: ({ transient }) => transient }),
    )
  }
}

/**
 * Keys of agents that HAI knows, or another service with the same endpoint: that of `JACS_KEYS_BASE_URL`, else of
 * `HAI_KEYS_BASE_URL`, else `https://hai.ai`. Only https, or http on localhost. Throws `Config` where a variable is
 * wrong.
 *
 * A lookup has 30 s for an attempt; network failures and the statuses 429 and 5xx are tried again after 1, 2, 4…
 * seconds, `JACS_KEY_FETCH_RETRIES` or `HAI_KEY_FETCH_RETRIES` times (default 3). Ids that are no UUIDs are `InvalidKey`;
 * what is not known is `NotFound` at once.
 */
export const makeHaiKeys = (options: HaiKeysOptions = {}): AgentKeys => {
  const lookup = haiKeyLookup(options)
  return { publicKeyOf: (agentId, version = "latest") => run(lookup(agentId, version)) }
}

const reply = (request: Request, status: number, body: unknown, cacheControl = "no-store"): Response =>
  new Response(request.method === "HEAD" ? null : JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", "cache-control": cacheControl },
  })

/**
 * A handler of requests that answers as HAI's endpoint does, out of a registry of yours; JACS finds it by
 * `JACS_KEYS_BASE_URL`. Mount it anywhere, such as `app.get("/jacs/v1/*", (c) => handler(c.req.raw))` in Hono. It asks
 * nobody who they are: public keys are public. What it cannot look up is 404, or 503 if trying again may help.
 *
 * @example Serve a registry
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { AgentRegistry, makeHaiKeys, serveAgentKeys } from "@holdfast/holdfast/jacs"
 *
 * await using store = await open("mem:")
 * const handler = serveAgentKeys(new AgentRegistry(store))
 * // Bun.serve({ fetch: handler }), Deno.serve(handler); here the client calls it without a network.
 * const keys = makeHaiKeys({ fetch: (url, init) => handler(new Request(url, init)) })
 * const found = await keys.publicKeyOf(crypto.randomUUID()).catch((error) => error.reason)
 * console.assert(found === "NotFound")
 * ```
 */
export const serveAgentKeys = (keys: AgentKeys): (request: Request) => Promise<Response> => async (request) => {
  const { pathname } = new URL(request.url)
  const [, agentId, version] = /\/jacs\/v1\/agents\/([\w.~-]+)\/keys\/([\w.~-]+)$/.exec(pathname) ?? []
  if (agentId === undefined || version === undefined) return reply(request, 404, { error: "nothing is at this path" })
  if (request.method !== "GET" && request.method !== "HEAD") {
    const response = reply(request, 405, { error: "keys can only be read" })
    response.headers.set("allow", "GET, HEAD")
    return response
  }
  try {
    const found = await keys.publicKeyOf(agentId, version)
    const encoded = toBase64(found.publicKey)
    return reply(request, 200, {
      jacs_id: found.agentId,
      version: found.version,
      public_key: encoded,
      public_key_raw_b64: encoded,
      algorithm: found.algorithm,
      public_key_hash: found.publicKeyHash,
      status: found.status ?? "active",
    }, version === "latest" ? "no-cache" : "public, max-age=300")
  } catch (error) {
    if (!StoreError.is(error)) throw error
    if (error.reason === "NotFound" || error.reason === "InvalidKey") {
      return reply(request, 404, { error: "there is no such agent, version or key" })
    }
    return reply(request, error.transient ? 503 : 500, { error: "the registry cannot be read" })
  }
}
