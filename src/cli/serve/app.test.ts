/** The program that is served: who is let in, what is counted and logged. Without a socket. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Memory from "../../backends/memory.ts"
import type { Backend } from "../../backend.ts"
import { openBackend, type Store } from "../../store.ts"
import { type App, makeApp } from "./app.ts"
import { type Level, Log } from "./log.ts"
import { makeToken, parseRule, type TokenRule } from "./tokens.ts"

interface Program {
  readonly app: App
  readonly store: Store
  readonly log: Array<Record<string, unknown>>
  readonly ask: (path: string, init?: RequestInit) => Promise<Response>
}

const origin = "http://127.0.0.1:8420"

const program = async (
  rules: ReadonlyArray<TokenRule>,
  level: Level = "info",
  change: (backend: Backend) => Backend = (backend) => backend,
): Promise<Program> => {
  const store = await openBackend(Effect.map(Memory.make(), change), { policy: { retry: "none" } })
  const log: Array<Record<string, unknown>> = []
  const write = (line: string, done: () => void): void => {
    log.push(JSON.parse(line))
    done()
  }
  const app = makeApp(store.service, { rules, log: new Log(level, write) })
  const ask = (path: string, init?: RequestInit) => app.answer(new Request(`${origin}${path}`, init), "127.0.0.9", {})
  return { app, store, log, ask }
}

const status = async (answer: Promise<Response>): Promise<number> => {
  const response = await answer
  await response.body?.cancel()
  return response.status
}

test("fault 144: with tokens, each may do what its line says and no more", async () => {
  const [writer, reader] = [makeToken("write", ""), makeToken("read", "public/")]
  const { ask, store } = await program([parseRule(writer.line), parseRule(reader.line)])
  await store.save("public/a", "for everyone")
  await store.save("b", "for me")
  const as = (token: string | undefined, path: string, init: RequestInit = {}): Promise<number> =>
    status(ask(path, { ...init, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }))
  const put = { method: "PUT", body: "new" }

  expect([await as(undefined, "/store/o/public/a"), await as("wrong", "/store/o/public/a")]).toEqual([401, 403])
  expect([await as(reader.token, "/store/o/public/a"), await as(reader.token, "/store/o/b")]).toEqual([200, 403])
  expect(await as(reader.token, "/store/o/public/a", put)).toBe(403)
  expect(await as(reader.token, "/store/l?prefix=public/")).toBe(200)
  expect([await as(reader.token, "/store/l"), await as(reader.token, "/store/l?prefix=p")]).toEqual([403, 403])
  expect(await as(reader.token, "/store/c/public/b", { method: "POST", body: '{"from":"b","writeId":"1"}' })).toBe(403)
  expect([await as(writer.token, "/store/o/b", put), await as(writer.token, "/store/l")]).toEqual([200, 200])
  expect(await (await store.load("b")).text()).toBe("new")
  expect([await as(undefined, "/metrics"), await as("wrong", "/metrics")]).toEqual([401, 401])
  expect([await as(reader.token, "/metrics"), await as(undefined, "/health")]).toEqual([200, 200])
})

test("rules that are admitted later count from then on, for the store and for the metrics", async () => {
  const [old, young] = [makeToken("write", ""), makeToken("read", "")]
  const { app, ask } = await program([parseRule(old.line)])
  const as = ({ token }: { readonly token: string }): Promise<ReadonlyArray<number>> =>
    Promise.all(
      ["/store/l", "/metrics"].map((path) => status(ask(path, { headers: { authorization: `Bearer ${token}` } }))),
    )
  expect([await as(old), await as(young)]).toEqual([[200, 200], [403, 401]])
  app.admit([parseRule(young.line)])
  expect([await as(old), await as(young)]).toEqual([[403, 401], [200, 200]])
})

test("without tokens programs of this machine are let in, and web pages that a browser of it shows are not", async () => {
  const { ask, app, store } = await program([])
  await store.save("a", "hello")
  expect(await status(ask("/store/o/a"))).toBe(200)
  const doomed = { method: "POST", body: '{"keys":["a"]}' }
  const pages: ReadonlyArray<Record<string, string>> = [
    { origin: "https://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
  ]
  for (const headers of pages) {
    const response = await ask("/store/d", { ...doomed, headers })
    // Of a removal of many, each key is refused by itself.
    expect((await response.json()).results?.[0]?.error?.code).toMatch(/^(Unauthorized|Forbidden)$/)
    expect(await status(ask("/metrics", { headers }))).toBe(401)
  }
  const rebound = new Request("http://evil.example:8420/store/o/a")
  expect(await status(app.answer(rebound, "127.0.0.1", {}))).toBe(401)
  expect(await store.exists("a")).toBe(true)
})

test("the log has no token, header or query at any level, and names of objects at debug only", async () => {
  for (const level of ["info", "debug"] as const) {
    const { token, line } = makeToken("write", "")
    const { ask, log } = await program([parseRule(line)], level)
    const headers = { authorization: `Bearer ${token}`, "x-canary": "canary-header" }
    await status(ask("/store/o/people/ada?canary-query=1", { method: "PUT", body: "canary-body", headers }))
    await status(ask("/store/o/people/bob", { headers }))
    await status(ask("/store/l?prefix=people/&cursor=canary-cursor", { headers }))
    await status(ask("/store/o/people/ada", { headers: { authorization: "Bearer canary-wrong" } }))
    const text = JSON.stringify(log)
    expect(log.map(({ status }) => status)).toEqual([200, 404, 400, 403])
    expect(text).not.toContain(token)
    expect(text).not.toContain("canary")
    expect(text.includes("people")).toBe(level === "debug")
    expect(log[0]).toMatchObject({ event: "request", verb: "save", method: "PUT", route: "/store/o" })
    expect(log[0]).toMatchObject({ client: "127.0.0.9", token: line.slice(7, 15) })
    expect(log[1]).toMatchObject({ code: "NotFound", verb: "load" })
    expect(log[3]?.["token"]).toBeUndefined()
  }
})

test("a request is on hand until its body has been read, and the log has its bytes", async () => {
  const { app, ask, store, log } = await program([])
  await store.save("a", new Uint8Array(600_000), { compression: "none" })
  const response = await ask("/store/o/a")
  let idle = false
  void app.idle().then(() => idle = true)
  const reader = response.body!.getReader()
  await reader.read()
  await Promise.resolve()
  expect([idle, log.length]).toEqual([false, 0])
  for (let next = await reader.read(); !next.done;) next = await reader.read()
  await app.idle()
  expect(log).toMatchObject([{ status: 200, bytes: 600_000, level: "info" }])

  const left = await ask("/store/o/a")
  await left.body!.cancel()
  await app.idle()
  expect(log[1]).toMatchObject({ broken: "client", level: "info" })
})

test("fault 152: a store that breaks in the middle breaks the body, and the log tells of it", async () => {
  const breaking = (backend: Backend): Backend => ({
    ...backend,
    get: (key, options) =>
      Effect.map(backend.get(key, options), (got) => {
        const reader = got.body.getReader()
        let reads = 0
        return {
          ...got,
          body: new ReadableStream<Uint8Array>({
            pull: async (controller) => {
              if (++reads > 1) throw new Error("the disk is gone")
              controller.enqueue((await reader.read()).value!)
            },
          }, { highWaterMark: 0 }),
        }
      }),
  })
  const { app, ask, store, log } = await program([], "info", breaking)
  await store.save("a", new Uint8Array(600_000), { compression: "none" })
  const response = await ask("/store/o/a")
  expect(response.status).toBe(200)
  expect(await response.bytes().then(() => "whole", () => "broken")).toBe("broken")
  await app.idle()
  expect(log).toMatchObject([{ level: "error", status: 200, broken: "store" }])
})

test("a defect is a 500 that says nothing of it; the log does, without what URLs carry", async () => {
  const failing = (backend: Backend): Backend => ({
    ...backend,
    list: () => Effect.die(new TypeError("cannot read https://s3.example/b?X-Amz-Signature=canary of undefined")),
  })
  for (const level of ["info", "debug"] as const) {
    const { app, ask, log } = await program([], level, failing)
    const response = await ask("/store/l")
    const text = await response.text()
    expect([response.status, text.includes("s3.example")]).toEqual([500, false])
    await app.idle()
    expect(log).toMatchObject([{ event: "defect", level: "error", name: "TypeError" }, {
      event: "request",
      status: 500,
    }])
    expect(JSON.stringify(log)).not.toContain("canary")
    expect(JSON.stringify(log).includes("cannot read https://s3.example/b")).toBe(level === "debug")
  }
})

test("/health says when the server is about to stop", async () => {
  const { app, ask } = await program([])
  const before = await ask("/health")
  expect([before.status, await before.json()]).toEqual([200, { status: "ok" }])
  app.stopping()
  const after = await ask("/health")
  expect([after.status, await after.json()]).toEqual([503, { status: "stopping" }])
})

test("/metrics counts requests by route, and calls of the store", async () => {
  const { ask, store } = await program([])
  await store.save("a", "hello")
  const count = async (pattern: RegExp): Promise<number> =>
    Number(pattern.exec(await (await ask("/metrics")).text())?.[1] ?? 0)
  const loads = /^holdfast_http_requests_total\{route="\/store\/o",method="GET",status="200"\} (\d+)$/m
  const gets = /^holdfast_requests_total\{backend="memory",operation="get",outcome="ok"\} (\d+)$/m
  const [before, called] = [await count(loads), await count(gets)]
  for (let i = 0; i < 3; i++) await (await ask("/store/o/a")).bytes()
  // Whoever asks for odd things does not make a series of each.
  await status(ask("/odd/path"))
  await status(ask("/store/odd/path"))
  expect([await count(loads) - before, await count(gets) - called]).toEqual([3, 3])
  const text = await (await ask("/metrics")).text()
  expect(text).not.toContain("odd")
  expect(text).toMatch(/^# TYPE holdfast_http_request_seconds histogram$/m)
  expect(text).toMatch(/^holdfast_http_requests_in_flight 1$/m)
  expect(text).toMatch(/^process_resident_memory_bytes \d{6,}$/m)
})

test("a path that leads nowhere is told where the store is, and is no missing object", async () => {
  const { ask } = await program([])
  const response = await ask("/o/a")
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ code: "InvalidInput", hint: expect.stringContaining("/store") })
})
