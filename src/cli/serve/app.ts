/**
 * What a server answers: the store's routes below `/store`, `/health` and `/metrics`; and what it counts and logs.
 *
 * A request is on hand until its body has been sent or has broken, so that a stop waits for what is under way, and so
 * that the log tells of bodies that broke.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { Hono } from "hono"
import process from "node:process"
import { problemResponse, storeRoutes, type StoreRoutesOptions, type Verb } from "../../http/mod.ts"
import { StoreError } from "../../error.ts"
import type { ObjectStoreService } from "../../object-store.ts"
import { readerOf, streamOf } from "../../streams/reader.ts"
import type { Answer } from "./listen.ts"
import type { Log } from "./log.ts"
import { allows, ruleOf, type TokenRule } from "./tokens.ts"

/** Where the store is mounted. */
export const mount = "/store"

/** Options of {@link makeApp}. */
export interface AppOptions extends Pick<StoreRoutesOptions, "maxBytes" | "patience"> {
  /** Who may do what. Empty: whoever asks from this machine, and no web page on it. */
  readonly rules: ReadonlyArray<TokenRule>
  readonly log: Log
}

/** A program to serve. */
export interface App {
  readonly answer: Answer
  /** From now on these say who may do what. Requests that have been let in end as they began. */
  readonly admit: (rules: ReadonlyArray<TokenRule>) => void
  /** From now on `/health` says 503, so that a load balancer sends nobody here any more. */
  readonly stopping: () => void
  /** Resolves when no request is on hand. */
  readonly idle: () => Promise<void>
}

const requests = Metric.counter("holdfast_http_requests_total", {
  description: "Requests answered, by route, method and status",
  incremental: true,
})
const broken = Metric.counter("holdfast_http_broken_total", {
  description: "Answers whose body broke: the store failed, or the client left",
  incremental: true,
})
const seconds = Metric.histogram("holdfast_http_request_seconds", {
  description: "Time of a request until the last byte of its answer",
  boundaries: Metric.exponentialBoundaries({ start: 0.001, factor: 4, count: 10 }),
})
const sent = Metric.counter("holdfast_http_sent_bytes_total", {
  description: "Bytes of objects that were sent",
  incremental: true,
})
const onHand = Metric.gauge("holdfast_http_requests_in_flight", { description: "Requests being answered" })
const memory = Metric.gauge("process_resident_memory_bytes", { description: "Memory of the process" })

/** Where metrics are kept unless somebody says otherwise. */
const registry = Context.empty()

const routes = ["o", "l", "s", "r", "d", "c", "m", "u"]
const methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]

/** The route of a request, of which there are only a few: whoever asks must not fill the metrics with names. */
const routeOf = (pathname: string): string => {
  const [, first = "", second = ""] = pathname.split("/")
  if (`/${first}` !== mount) return first === "health" || first === "metrics" ? `/${first}` : "other"
  return second === "" ? mount : routes.includes(second) ? `${mount}/${second}` : "other"
}

/** Whether the answer is an object's bytes, unless it is a refusal. */
const isObject = (method: string, route: string): boolean =>
  method === "GET" && (route === `${mount}/o` || route === `${mount}/r`)

const loopbackName = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/**
 * Whether a request without a token may have come from a program of this machine. A page in a browser of this machine
 * is none: it has an origin, or has bent a name of its own to this address.
 */
const isLocal = (request: Request): boolean => {
  const site = request.headers.get("sec-fetch-site")
  return loopbackName.test(new URL(request.url).hostname) && !request.headers.has("origin") &&
    (site === null || site === "none" || site === "same-origin")
}

/** What is learnt of a request while it is answered. */
interface Notes {
  verb?: Verb
  key?: string
  token?: string
}

/** Counts the requests on hand. */
class OnHand {
  #count = 0
  #waiting: Array<() => void> = []

  get count(): number {
    return this.#count
  }

  enter(): void {
    this.#count++
  }

  leave(): void {
    this.#count--
    if (this.#count > 0) return
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** A body that tells of its end: with the bytes that went through it, and what it broke with. */
const watched = (
  body: ReadableStream<Uint8Array>,
  ended: (bytes: number, failure?: "store" | "client") => void,
): ReadableStream<Uint8Array> => {
  const reader = readerOf(body)
  let bytes = 0
  return streamOf({
    read: async () => {
      try {
        const chunk = await reader.read()
        if (chunk === undefined) ended(bytes)
        else bytes += chunk.length
        return chunk
      } catch (error) {
        ended(bytes, "store")
        throw error
      }
    },
    cancel: (reason) => {
      ended(bytes, "client")
      return reader.cancel(reason)
    },
  })
}

/** Where a defect came from, without what URLs in it may carry behind their `?`. */
const traceOf = (error: Error): string => (error.stack ?? error.message).replaceAll(/\?[^\s"')]*/g, "?…")

/** What a problem document says, and the answer again. */
const problemIn = async (
  response: Response,
): Promise<{ readonly response: Response; readonly code?: string; readonly detail?: string }> => {
  if (!(response.headers.get("content-type") ?? "").startsWith("application/problem+json")) return { response }
  const text = await response.text()
  const again = new Response(text === "" ? null : text, { status: response.status, headers: response.headers })
  if (text === "") return { response: again }
  const { code, detail } = JSON.parse(text) as { readonly code?: string; readonly detail?: string }
  return { response: again, code, detail }
}

const refusal = (reason: "InvalidInput" | "Unauthorized" | "Protocol", detail: string, hint: string): StoreError =>
  new StoreError({ reason, operation: "serve", detail, hint })

const unauthorized = (request: Request): Response =>
  problemResponse(
    refusal("Unauthorized", "the request carries no token of this server", "send authorization: Bearer TOKEN"),
    request,
    { status: 401, headers: { "www-authenticate": "Bearer" } },
  )

/** Makes the program that serves `store`. */
export const makeApp = (store: ObjectStoreService, { rules, log, ...limits }: AppOptions): App => {
  const notes = new WeakMap<Request, Notes>()
  const hand = new OnHand()
  let stopping = false
  let inForce = rules

  const letIn = (request: Request): TokenRule | "anyone" | undefined =>
    inForce.length > 0 ? ruleOf(inForce, request) : isLocal(request) ? "anyone" : undefined

  const app = new Hono()
  app.route(
    mount,
    storeRoutes(store, {
      ...limits,
      ownsBodies: true,
      authorize: (asked) => {
        const { verb, key, request } = asked
        const rule = letIn(request)
        const known = notes.get(request)
        if (known !== undefined) {
          // Of a copy the first is its target; of a removal of many the last is as good as any.
          known.verb ??= verb
          known.key ??= key
          known.token = typeof rule === "object" ? rule.name : undefined
        }
        return rule === "anyone" || (rule !== undefined && allows(rule, asked))
      },
    }),
  )
  app.get("/health", () =>
    Response.json({ status: stopping ? "stopping" : "ok" }, {
      status: stopping ? 503 : 200,
      headers: { "cache-control": "no-store" },
    }))
  app.get("/metrics", (c) => {
    if (letIn(c.req.raw) === undefined) return unauthorized(c.req.raw)
    onHand.updateUnsafe(hand.count, registry)
    memory.updateUnsafe(process.memoryUsage().rss, registry)
    return new Response(PrometheusMetrics.formatUnsafe(registry), {
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" },
    })
  })
  app.notFound((c) =>
    // A reason of its own: were it NotFound, a client would take an object for missing.
    problemResponse(
      refusal("InvalidInput", "there is nothing at this path", `the store is at ${mount}; see docs/http.md`),
      c.req.raw,
      { status: 404 },
    )
  )
  app.onError((error, c) => {
    log.add("error", { event: "defect", name: error.name, detail: traceOf(error) })
    const failed = refusal("Protocol", "the server failed in a way that it does not know", "its log says more")
    return problemResponse(failed, c.req.raw, { status: 500 })
  })

  const made = new Map<string, Metric.Metric<number, unknown>>()
  const count = (route: string, method: string, status: number): void => {
    const name = `${route} ${method} ${status}`
    let series = made.get(name)
    if (series === undefined) {
      series = Metric.withAttributes(requests, { route, method, status: String(status) })
      made.set(name, series)
    }
    series.updateUnsafe(1, registry)
  }

  const answer: Answer = async (request, client, env) => {
    const began = performance.now()
    const known: Notes = {}
    notes.set(request, known)
    hand.enter()
    const { response, code, detail } = await (async () => problemIn(await app.fetch(request, env)))().catch((error) => {
      hand.leave()
      throw error
    })
    const { status } = response
    const route = routeOf(new URL(request.url).pathname)
    const method = methods.includes(request.method) ? request.method : "other"
    let over = false
    const ended = (bytes: number, failure?: "store" | "client"): void => {
      if (over) return
      over = true
      hand.leave()
      const ms = performance.now() - began
      count(route, method, status)
      seconds.updateUnsafe(ms / 1000, registry)
      if (bytes > 0) sent.updateUnsafe(bytes, registry)
      if (failure !== undefined) broken.updateUnsafe(1, registry)
      log.add(status >= 500 || failure === "store" ? "error" : "info", {
        event: "request",
        ...{ method, route, status, code, verb: known.verb, token: known.token, client },
        ...{
          bytes: bytes === 0 ? undefined : bytes,
          ms: Math.round(ms * 10) / 10,
          broken: failure,
          key: known.key,
          detail,
        },
      })
    }
    if (stopping) response.headers.set("connection", "close")
    // Documents are whole already; and a stream would take their length away.
    if (response.body === null || !isObject(method, route) || code !== undefined) {
      ended(0)
      return response
    }
    return new Response(watched(response.body, ended), { status, headers: response.headers })
  }

  return {
    answer,
    admit: (next) => {
      inForce = next
    },
    stopping: () => {
      stopping = true
    },
    idle: () => hand.idle(),
  }
}
