/** What answers mean, and what of them is shown. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { Backend } from "../../backend.ts"
import { type Reason, StoreError } from "../../error.ts"
import { storeRoutes } from "../../http/mod.ts"
import { listen } from "../../http/testing.ts"
import { makeObjectStore } from "../../object-store.ts"
import { openBackend } from "../../store.ts"
import { bytes, collect, expectReason, putOptions } from "../conformance.ts"
import * as Memory from "../memory.ts"
import { type HttpOptions, make } from "./mod.ts"

const token = "canary-7f3a9c"
const data = bytes(1, 1000)

type Answer = (url: string, init: RequestInit) => Promise<Response> | Response

/** A served store in memory, whose answers `tamper` may replace. */
const remote = async (
  tamper: (next: () => Promise<Response>, url: URL, init: RequestInit) => Promise<Response> | Response,
  options: Partial<HttpOptions> = {},
): Promise<Backend> => {
  const store = await openBackend(Memory.make(), { policy: { retry: "none", breaker: "none" } })
  const routes = storeRoutes(store, { authorize: () => true })
  await store.save("a", data, { compression: "none" })
  let opened = false
  const fetch: Answer = (url, init) => {
    const next = async (): Promise<Response> => await routes.fetch(new Request(url, init))
    // The first request is the one that learns the capabilities.
    if (opened) return tamper(next, new URL(url), init)
    opened = true
    return next()
  }
  return await Effect.runPromise(make({
    url: "http://store.example",
    token,
    fetch: async (url, init) => await fetch(url, init),
    ...options,
  }))
}

const fails = (backend: Effect.Effect<unknown, StoreError>, ...reasons: ReadonlyArray<Reason>): Promise<StoreError> =>
  Effect.runPromise(expectReason(backend, ...reasons))

/** Everything of an error that somebody may print. */
const printed = (error: StoreError): string =>
  [error.message, error.hint, JSON.stringify(error), error.stack, String((error.cause as Error | undefined)?.message)]
    .join()

test("a URL or a token that cannot be meant so is Config, and is not repeated", async () => {
  for (
    const options of [
      { url: `nonsense ${token}` },
      { url: `ftp://host/${token}` },
      { url: `https://user:${token}@host/` },
      { url: `https://host/?token=${token}` },
      { url: `https://host/#${token}` },
      { url: "https://host", token: "" },
      { url: "https://host", token: `${token}\n` },
    ]
  ) {
    const error = await fails(make(options), "Config")
    expect([options, printed(error).includes(token)]).toEqual([options, false])
  }
})

test("what is no Holdfast, or another version of it, is Config or Protocol when the store is made", async () => {
  const answers: ReadonlyArray<readonly [Response, Reason, string]> = [
    [new Response("<html>", { status: 200 }), "Protocol", "not what a Holdfast store answers"],
    [Response.json({ holdfast: 2 }), "Config", "speaks version 2"],
    [Response.json({ holdfast: 1, backend: "x", calls: [], capabilities: { maxPut: "many" } }), "Protocol", "not what"],
    [new Response("not here", { status: 404 }), "Config", "status 404"],
    [new Response(null, { status: 302, headers: { location: `https://other/?${token}` } }), "Config", "redirect"],
    [new Response("who?", { status: 401 }), "Unauthorized", "status 401"],
    [new Response("down", { status: 502 }), "Unavailable", "status 502"],
    [new Response("slow", { status: 429, headers: { "retry-after": "7" } }), "RateLimited", "status 429"],
  ]
  for (const [answer, reason, words] of answers) {
    const error = await fails(make({ url: "http://h", token, fetch: () => Promise.resolve(answer) }), reason)
    expect(error.message).toContain(words)
    expect([error.ambiguous, printed(error).includes(token)]).toEqual([false, false])
    if (reason === "RateLimited") expect(error.retryAfter).toBe(7000)
  }
})

test("the token goes with every request, and redacted it is the same", async () => {
  for (const given of [token, Redacted.make(token)]) {
    const seen: Array<string | null> = []
    const backend = await remote((next, _, init) => {
      seen.push(new Headers(init.headers).get("authorization"))
      expect([init.redirect, new Headers(init.headers).get("accept-encoding")]).toEqual(["manual", "identity"])
      return next()
    }, { token: given, headers: { "x-proxy": "1" } })
    await Effect.runPromise(backend.stat("a"))
    await Effect.runPromise(backend.put("b", data, putOptions(data)))
    expect(seen).toEqual([`Bearer ${token}`, `Bearer ${token}`])
  }
})

test("a refusal comes over as it is, but for the token should it repeat it", async () => {
  const problem = {
    code: "RateLimited",
    detail: `slow down, ${token}\r\nset-cookie: x`,
    hint: "wait",
    transient: true,
    ambiguous: false,
    retryAfter: 1500,
    requestId: "r-1",
  }
  const backend = await remote(() =>
    new Response(JSON.stringify(problem), { status: 429, headers: { "content-type": "application/problem+json" } })
  )
  const error = await fails(backend.put("b", data, putOptions(data)), "RateLimited")
  expect([error.detail, error.hint, error.transient, error.ambiguous, error.retryAfter, error.requestId, error.key])
    .toEqual(["slow down, …  set-cookie: x".replace("  ", " "), "wait", true, false, 1500, "r-1", "b"])
  expect([error.backend, error.operation]).toEqual(["http", "put"])
})

test("what a proxy in between says by status alone is ambiguous only where the change may have been made", async () => {
  const cases: ReadonlyArray<[number, Reason, boolean, boolean]> = [
    [502, "Unavailable", true, true],
    [503, "Unavailable", true, true],
    [504, "Timeout", true, true],
    [500, "Unavailable", true, true],
    [429, "RateLimited", true, false],
    [413, "TooLarge", false, false],
    [404, "Config", false, false],
    [401, "Unauthorized", false, false],
    [418, "Protocol", false, false],
  ]
  for (const [status, reason, transient, ambiguous] of cases) {
    const backend = await remote(() => new Response("<h1>", { status, headers: { "content-type": "text/html" } }))
    const error = await fails(backend.put("b", data, putOptions(data)), reason)
    expect([status, error.transient, error.ambiguous]).toEqual([status, transient, ambiguous])
    expect([status, (await fails(backend.stat("a"), reason)).ambiguous]).toEqual([status, false])
  }
})

test("a lost answer to a change is ambiguous, and a connection that was never made is not", async () => {
  const lost = await remote(async (next) => {
    await next()
    throw new TypeError("fetch failed: other side closed")
  })
  const error = await fails(lost.put("b", data, putOptions(data)), "Unavailable")
  expect([error.transient, error.ambiguous]).toEqual([true, true])
  await using server = listen(() => new Response("x"))
  const { url } = server
  await server.stop()
  const unreachable = await fails(make({ url }), "Unavailable")
  expect([unreachable.transient, unreachable.ambiguous]).toEqual([true, false])
  expect(unreachable.message).toContain("cannot be reached")
})

test("faults 27, 29: a lost answer to a put or to the end of an upload is settled by the write id", async () => {
  for (const size of [1000, 3_000_000]) {
    let losses = 0
    const backend = await remote(async (next, url, init) => {
      const response = await next()
      const ends = init.method === "PUT" && url.pathname.startsWith("/r/") ||
        init.method === "POST" && url.searchParams.has("id")
      if (!ends || losses++ > 0) return response
      throw new TypeError("fetch failed: other side closed")
    })
    const store = await Effect.runPromise(
      makeObjectStore(backend, { compression: "none", policy: { retry: Schedule.recurs(3), breaker: "none" } }),
    )
    const source = bytes(2, size)
    const info = await Effect.runPromise(store.save("b", source, { ifNoneMatch: "*" }))
    expect([info.size, losses > 0]).toEqual([size, true])
    const found = await Effect.runPromise(store.stat("b"))
    expect(found.writeId).toBe(info.writeId)
  }
})

const bodies: ReadonlyArray<readonly [string, (body: Uint8Array) => BodyInit, Reason]> = [
  ["that ends early", (body) => body.slice(0, 900), "Truncated"],
  ["that goes on", (body) => new Blob([body as Uint8Array<ArrayBuffer>, "more"]), "Protocol"],
  [
    "that breaks",
    (body) => {
      const chunks = [body.slice(0, 500)]
      return new ReadableStream({
        pull: (controller) => {
          const chunk = chunks.shift()
          if (chunk === undefined) throw new TypeError("terminated")
          controller.enqueue(chunk)
        },
      })
    },
    "Unavailable",
  ],
]

for (const [what, change, reason] of bodies) {
  test(`a body ${what} is an error, never a quiet end`, async () => {
    const backend = await remote(async (next) => {
      const response = await next()
      const headers = new Headers(response.headers)
      headers.delete("content-length")
      return new Response(change(new Uint8Array(await response.arrayBuffer())), { headers })
    })
    const { body } = await Effect.runPromise(backend.get("a"))
    const error = await collect(body).then(() => "a quiet end", (thrown: unknown) => thrown)
    if (!StoreError.is(error)) throw new Error(`got ${error}`)
    expect([error.reason, error.operation, error.key]).toEqual([reason, "get", "a"])
  })
}

test("the answer to another request is not taken for ours", async () => {
  let first: { readonly body: ArrayBuffer; readonly headers: Headers } | undefined
  // A cache that looks at nothing gives out what it was given first.
  const backend = await remote(async (next) => {
    if (first === undefined) {
      const response = await next()
      first = { body: await response.arrayBuffer(), headers: response.headers }
    }
    return new Response(first.body, { headers: first.headers })
  })
  expect((await Effect.runPromise(backend.get("a"))).length).toBe(1000)
  const others = [
    backend.get("b"),
    backend.get("a", { length: 5 }),
    backend.get("a", { offset: 5 }),
    backend.get("a", { ifMatch: "other" }),
  ]
  for (const other of others) expect((await fails(other, "Protocol")).transient).toBe(true)
})

test("an answer that something has compressed on the way is refused", async () => {
  const backend = await remote(async (next) => {
    const response = await next()
    const headers = new Headers(response.headers)
    headers.set("content-encoding", "gzip")
    return new Response(response.body, { headers })
  })
  expect((await fails(backend.get("a"), "Unsupported")).hint).toContain("compresses")
})
