/**
 * Routes over a store: one line mounts them in a Hono program, on Bun, Deno, Node and Workers.
 *
 * - `/o/<key>`: objects as everyone knows them, for browsers, `curl` and every other client of HTTP
 * - `/l`: lists
 * - everything else: the calls of a backend, for `@holdfast/holdfast/remote`
 *
 * `docs/http.md` describes them all. Nothing is allowed that `authorize` does not allow, and it is asked before a byte
 * of a request is read. A key is decoded once, from the URL as it was sent; what a router in front could read as
 * another path is refused.
 *
 * @module
 */
import { type Context, Hono } from "hono"
import { routePath } from "hono/route"
import { infoDocument } from "../backends/http/wire.ts"
import { StoreError } from "../error.ts"
import { optionFlaw } from "../flaw.ts"
import { keyFlaw, prefixFlaw } from "../key.ts"
import { type Call, type Contract, serveContract } from "./contract.ts"
import { quoted, writeCondition } from "./conditions.ts"
import { problemResponse } from "./problem.ts"
import { type ReceiveLimits, saveRequest } from "./receive.ts"
import { loadRequest, redirectRequest } from "./respond.ts"
import { run, type ServedStore, serviceOf } from "./served.ts"

/** What a request wants to do. `describe`: to know what the store can do. */
export type Verb = "describe" | "list" | "stat" | "load" | "save" | "remove"

/** What `authorize` decides about. A copy is asked about twice: `load` of the source, `save` of the target. */
export interface Authorization {
  /** What is to be done. */
  readonly verb: Verb
  /** To which object; of `list` the prefix, of `describe` nothing: `""`. */
  readonly key: string
  /** The request, with its headers. Its body is not to be read. */
  readonly request: Request
}

/** Options of {@link storeRoutes}. */
export interface StoreRoutesOptions extends ReceiveLimits {
  /**
   * Whether a request may do what it wants to. There is no default: who may do what is yours to say. `false` is
   * answered with 401 where the request carries no `Authorization`, else with 403.
   */
  readonly authorize: (asked: Authorization) => boolean | Promise<boolean>
  /**
   * Answers `GET /o/<key>?redirect` with a redirect to a presigned URL of the store's service, where it has such and the
   * object is stored as it was saved; so the bytes do not pass through this program. Whoever sees the URL can load the
   * object for a minute. Default `false`.
   */
  readonly presignRedirect?: boolean | undefined
}

type Handlers = Readonly<Record<string, (call: Call, allow: Allow) => Promise<Response>>>
type Allow = (verb: Verb, key: string) => Promise<void>

const denied = (request: Request, key: string): StoreError =>
  request.headers.has("authorization")
    ? new StoreError({
      reason: "Forbidden",
      detail: "this is not allowed with the credentials of the request",
      hint: "use a token that allows it",
      operation: "serve",
      key: key === "" ? undefined : key,
    })
    : new StoreError({
      reason: "Unauthorized",
      detail: "the request carries no credentials",
      hint: "send a token that allows it: authorization: Bearer TOKEN",
      operation: "serve",
    })

const notKey = (detail: string): StoreError => new StoreError({ reason: "InvalidKey", detail, operation: "serve" })

/** The key behind a route that ends in `*`: the rest of the path, decoded once. */
const keyOf = (c: Context): string => {
  const before = routePath(c).replace(/\{[^}]*\}/g, "").split("/").length - 1
  const path = /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(c.req.raw.url)?.[1] ?? ""
  const raw = path.split("/").slice(before).join("/")
  // Whoever guards "/o/private/*" in front of these routes must see the same segments as they do.
  if (/%2f/i.test(raw)) throw notKey('the path holds an escaped "/"; write it as it is')
  let key: string
  try {
    key = decodeURIComponent(raw)
  } catch {
    throw notKey('the path is not percent-encoded UTF-8; write "%" as "%25"')
  }
  const detail = keyFlaw(key)
  if (detail !== undefined) throw notKey(detail)
  return key
}

/** Bun ends connections on which nothing moves for 10 s; a store may take longer to begin. Its longest time. */
const bunPatience = 255

const keepOpen = (c: Context): void => {
  const env = c.env as { timeout?: unknown; server?: { timeout?: unknown } } | undefined
  const server = typeof env?.timeout === "function" ? env : env?.server
  if (typeof server?.timeout === "function") server.timeout(c.req.raw, bunPatience)
}

/**
 * The routes over a store of either face. Mount them anywhere: `app.route("/store", storeRoutes(store, { authorize }))`.
 * Throws `Config` when there is no `authorize`, or an option is out of range.
 *
 * @example A store in a Hono program
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { bearerIs, storeRoutes } from "@holdfast/holdfast/http"
 * import { Hono } from "hono"
 *
 * await using store = await open("mem:")
 * const app = new Hono()
 * app.route("/store", storeRoutes(store, { authorize: ({ request }) => bearerIs(request, "secret") }))
 *
 * // Bun.serve({ fetch: app.fetch }), Deno.serve(app.fetch), or export default app
 * const headers = { authorization: "Bearer secret" }
 * const saved = await app.request("/store/o/greeting", { method: "PUT", body: "hello", headers })
 * const loaded = await app.request("/store/o/greeting", { headers })
 * console.assert(saved.ok && await loaded.text() === "hello")
 * console.assert((await app.request("/store/o/greeting")).status === 401)
 * ```
 */
export const storeRoutes = (store: ServedStore, options: StoreRoutesOptions): Hono => {
  const { authorize } = options
  const flaw = typeof authorize !== "function"
    ? "authorize is missing; say who may do what, such as authorize: ({ request }) => bearerIs(request, token)"
    : optionFlaw("maxBytes", options.maxBytes, 0, Number.MAX_SAFE_INTEGER) ??
      optionFlaw("patience", options.patience, 1, 2 ** 31 - 1)
  if (flaw !== undefined) throw new StoreError({ reason: "Config", detail: flaw, operation: "serve" })
  const service = serviceOf(store)
  const contract: Contract = serveContract(service.calls, options)

  const answer = async (
    c: Context,
    handle: (call: Call, allow: Allow) => Promise<Response>,
    key: () => string,
  ): Promise<Response> => {
    const request = c.req.raw
    keepOpen(c)
    try {
      const allow: Allow = async (verb, name) => {
        if (await authorize({ verb, key: name, request }) !== true) throw denied(request, name)
      }
      return await handle({ request, key: key(), query: new URL(request.url).searchParams }, allow)
    } catch (error) {
      if (!StoreError.is(error)) throw error
      // A key or token that is missing is the client's affair; one that the store lacks is not (502).
      return error.operation === "serve" && error.reason === "Unauthorized"
        ? problemResponse(error, request, { status: 401, headers: { "www-authenticate": "Bearer" } })
        : problemResponse(error, request)
    }
  }

  const app = new Hono()
  const noKey = (): string => ""

  const objects = (path: string, handlers: Handlers): void => {
    app.all(path, (c) => {
      const { method } = c.req.raw
      const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined
      if (handler !== undefined) return answer(c, handler, () => keyOf(c))
      return problemResponse(
        new StoreError({
          reason: "InvalidInput",
          detail: `the method ${method} means nothing here`,
          hint: `use ${Object.keys(handlers).join(", ")}`,
          operation: "serve",
        }),
        c.req.raw,
        { status: 405, headers: { allow: Object.keys(handlers).join(", ") } },
      )
    })
  }

  app.get("/", (c) =>
    answer(c, async (_, allow) => {
      await allow("describe", "")
      return contract.describe()
    }, noKey))

  app.get("/l", (c) =>
    answer(c, async ({ request, query }, allow) => {
      const prefix = query.get("prefix") ?? ""
      const detail = prefixFlaw(prefix)
      if (detail !== undefined) throw notKey(detail)
      await allow("list", prefix)
      const limit = Number(query.get("limit") ?? 1000)
      const delimiter = query.get("delimiter") ?? undefined
      const invalid = optionFlaw("limit", limit, 1, 1000) ??
        (delimiter === undefined || delimiter === "/" ? undefined : 'delimiter can only be "/"')
      if (invalid !== undefined) throw new StoreError({ reason: "InvalidInput", detail: invalid, operation: "list" })
      const cursor = query.get("cursor") ?? undefined
      const asked = { prefix, delimiter: delimiter === "/" ? "/" as const : undefined, cursor, limit }
      return Response.json(await run(service.calls.list(asked), request.signal), {
        headers: { "cache-control": "no-store, no-transform" },
      })
    }, noKey))

  app.get("/u", (c) =>
    answer(c, async (call, allow) => {
      const prefix = call.query.get("prefix") ?? ""
      const detail = prefixFlaw(prefix)
      if (detail !== undefined) throw notKey(detail)
      await allow("list", prefix)
      return await contract.listUploads(call)
    }, noKey))

  app.post("/d", (c) => answer(c, (call, allow) => contract.removeMany(call, allow), noKey))

  const read = async (call: Call, allow: Allow): Promise<Response> => {
    await allow(call.request.method === "HEAD" ? "stat" : "load", call.key)
    const redirect = options.presignRedirect === true && call.query.has("redirect")
      ? await redirectRequest(service, call.key, call.request)
      : undefined
    return redirect ?? await loadRequest(service, call.key, call.request)
  }
  objects("/o/*", {
    GET: read,
    HEAD: read,
    PUT: async ({ request, key }, allow) => {
      await allow("save", key)
      const info = await saveRequest(service, key, request, options)
      return Response.json(infoDocument(info), {
        status: request.headers.has("if-none-match") ? 201 : 200,
        headers: { etag: quoted(info.etag), "cache-control": "no-store" },
      })
    },
    DELETE: async ({ request, key }, allow) => {
      await allow("remove", key)
      const { ifMatch } = writeCondition(request.headers)
      await run(service.remove(key, { ifMatch }), request.signal)
      return new Response(null, { status: 204 })
    },
  })

  const permitted = (verb: Verb, handle: (call: Call) => Promise<Response>) => async (call: Call, allow: Allow) => {
    await allow(verb, call.key)
    return await handle(call)
  }
  objects("/s/*", { GET: permitted("stat", contract.stat) })
  objects("/r/*", {
    GET: permitted("load", contract.get),
    PUT: permitted("save", contract.put),
    DELETE: permitted("remove", contract.remove),
  })
  objects("/u/*", {
    GET: permitted("save", contract.listParts),
    PUT: permitted("save", contract.putPart),
    POST: permitted(
      "save",
      (call) => call.query.has("id") ? contract.completeUpload(call) : contract.createUpload(call),
    ),
    DELETE: permitted("save", contract.abortUpload),
  })
  for (const [path, verb] of [["/c/*", "copy"], ["/m/*", "move"]] as const) {
    objects(path, {
      POST: async (call, allow) => {
        await allow("save", call.key)
        return await contract.copy(verb, call, allow)
      },
    })
  }
  return app
}
