/** The routes as an ordinary client of HTTP sees them. */
import { expect, test } from "bun:test"
import { Hono } from "hono"
import * as Effect from "effect/Effect"
import type { Backend } from "../backend.ts"
import { bytes, expectBytes } from "../backends/conformance.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import type { StoreOptions } from "../options.ts"
import { openBackend, type Store } from "../store.ts"
import { crc32 } from "../streams/crc32.ts"
import { bearerIs, objectResponse, storeRoutes, type StoreRoutesOptions } from "./mod.ts"

interface Bench {
  readonly store: Store
  /** A request below the mount. */
  readonly ask: (path: string, init?: RequestInit) => Promise<Response>
  /** The code of a refusal, after its status. */
  readonly refused: (path: string, init?: RequestInit) => Promise<string>
}

const bench = async (
  use: (bench: Bench) => Promise<void>,
  options: Partial<StoreRoutesOptions> & { readonly stores?: StoreOptions; readonly behind?: Backend } = {},
): Promise<void> => {
  const { stores, behind, ...rest } = options
  await using store = await openBackend(behind === undefined ? Memory.make() : Effect.succeed(behind), {
    policy: { retry: "none", breaker: "none" },
    ...stores,
  })
  const app = new Hono().route("/some/store", storeRoutes(store, { authorize: () => true, ...rest }))
  const ask: Bench["ask"] = async (path, init) =>
    await app.fetch(new Request(`http://localhost/some/store${path}`, init))
  const refused: Bench["refused"] = async (path, init) => {
    const response = await ask(path, init)
    expect(response.headers.get("content-type")).toBe("application/problem+json")
    const { status, code, hint, detail } = await response.json() as Record<string, unknown>
    expect(status).toBe(response.status)
    if (typeof hint !== "string" || typeof detail !== "string") throw new Error(`no hint or detail: ${hint}, ${detail}`)
    return `${status} ${code}`
  }
  await use({ store, ask, refused })
}

const put = (body: BodyInit, headers: Record<string, string> = {}): RequestInit => ({ method: "PUT", body, headers })

test("what is PUT is saved with its type and metadata, and GET and HEAD give it back", () =>
  bench(async ({ ask, store }) => {
    const metadata = JSON.stringify({ run: "Grüße 👋🏽" }).replace(
      /[\u007f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    )
    const saved = await ask(
      "/o/runs/42 é.txt",
      put("hello", { "content-type": "text/plain", "holdfast-metadata": metadata }),
    )
    expect(saved.status).toBe(200)
    const info = await store.stat("runs/42 é.txt")
    expect([info.contentType, info.metadata, info.length]).toEqual(["text/plain", { run: "Grüße 👋🏽" }, 5])
    expect(saved.headers.get("etag")).toBe(`"${info.etag}"`)
    expect(await saved.json()).toMatchObject({ key: "runs/42 é.txt", length: 5, etag: info.etag })

    const loaded = await ask("/o/runs/42%20%C3%A9.txt")
    const said = (response: Response) =>
      ["etag", "content-length", "content-type", "holdfast-metadata", "accept-ranges"].map((name) =>
        response.headers.get(name)
      )
    expect(said(loaded)).toEqual([`"${info.etag}"`, "5", "text/plain", metadata, "bytes"])
    expect(loaded.headers.get("last-modified")).toBe(info.modified.toUTCString())
    expect(await loaded.text()).toBe("hello")

    const head = await ask("/o/runs/42 é.txt", { method: "HEAD" })
    expect([head.status, head.body, ...said(head)]).toEqual([200, null, ...said(loaded)])
    expect((await ask("/o/runs/42 é.txt", { method: "DELETE" })).status).toBe(204)
    expect(await store.exists("runs/42 é.txt")).toBe(false)
    expect((await ask("/o/runs/42 é.txt", { method: "DELETE" })).status).toBe(204)
  }))

test("a HEAD opens no body, and one that a condition refuses is cancelled", async () => {
  const inner = await Effect.runPromise(Memory.make())
  let open = 0
  const counted: Backend = {
    ...inner,
    get: (key, options) =>
      Effect.map(inner.get(key, options), (got) => {
        open++
        const reader = got.body.getReader()
        return {
          ...got,
          body: new ReadableStream<Uint8Array>({
            pull: async (controller) => {
              const { done, value } = await reader.read()
              if (done) open--
              if (done) controller.close()
              else controller.enqueue(value)
            },
            cancel: async (reason) => {
              open--
              await reader.cancel(reason)
            },
          }, { highWaterMark: 0 }),
        }
      }),
  }
  await bench(async ({ ask, store }) => {
    const { etag } = await store.save("a", bytes(1, 100_000))
    for (
      const [method, headers, status] of [
        ["HEAD", {}, 200],
        ["HEAD", { "if-none-match": `"${etag}"` }, 304],
        ["GET", { "if-none-match": `"x", "${etag}"` }, 304],
        ["GET", { "if-none-match": "*" }, 304],
        ["GET", { "if-match": '"other"' }, 412],
        ["GET", { range: "bytes=0-1", "if-match": '"other"' }, 412],
      ] as const
    ) {
      expect((await ask("/o/a", { method, headers })).status).toBe(status)
      for (let turn = 0; turn < 100 && open > 0; turn++) await Promise.resolve()
      expect(open).toBe(0)
    }
    await (await ask("/o/a")).arrayBuffer()
    expect(open).toBe(0)
  }, { behind: counted })
})

const data = bytes(2, 1000)

for (const compression of ["none", "zstd", "gzip"] as const) {
  test(`ranges are of what was saved (${compression})`, () =>
    bench(async ({ ask, store, refused }) => {
      const { etag } = await store.save("a", data, { compression })
      await store.save("empty", "", { compression })
      const ranges: ReadonlyArray<[string, number, number]> = [
        ["bytes=0-0", 0, 1],
        ["bytes=10-19", 10, 20],
        ["bytes=990-", 990, 1000],
        ["bytes=-10", 990, 1000],
        ["bytes=999-18446744073709551615", 999, 1000],
      ]
      for (const [range, from, to] of ranges) {
        const response = await ask("/o/a", { headers: { range } })
        expect([response.status, response.headers.get("content-range"), response.headers.get("content-length")])
          .toEqual([206, `bytes ${from}-${to - 1}/1000`, String(to - from)])
        expect(response.headers.get("etag")).toBe(`"${etag}"`)
        expectBytes(new Uint8Array(await response.arrayBuffer()), data.slice(from, to), range)
      }
      // What is no range, or is all of it, is answered with all of it.
      for (const range of ["bytes=0-", "bytes=-1000", "bytes=-5000", "bytes=9-3", "lines=1-2", "bytes=x", "bytes=-"]) {
        const response = await ask("/o/a", { headers: { range } })
        expect([range, response.status, response.headers.has("content-range")]).toEqual([range, 200, false])
        expectBytes(new Uint8Array(await response.arrayBuffer()), data, range)
      }
      for (const range of ["bytes=1000-", "bytes=1000-1001", "bytes=18446744073709551615-", "bytes=-0"]) {
        expect(await refused("/o/a", { headers: { range } })).toBe("416 RangeNotSatisfiable")
        expect((await ask("/o/a", { headers: { range } })).headers.get("content-range")).toBe("bytes */1000")
      }
      expect(await refused("/o/empty", { headers: { range: "bytes=0-0" } })).toBe("416 RangeNotSatisfiable")
      expect(await refused("/o/empty", { headers: { range: "bytes=-1" } })).toBe("416 RangeNotSatisfiable")
      expect((await ask("/o/empty")).headers.get("content-length")).toBe("0")
    }))
}

test("fault 150: If-Range gives the range of that object only, else the whole of the new one", () =>
  bench(async ({ ask, store }) => {
    const { etag: old } = await store.save("a", data)
    const { etag, modified } = await store.save("a", bytes(3, 2000))
    const status = async (ifRange: string, range = "bytes=5-9"): Promise<unknown> => {
      const response = await ask("/o/a", { headers: { range, "if-range": ifRange } })
      return [response.status, (await response.arrayBuffer()).byteLength]
    }
    expect(await status(`"${etag}"`)).toEqual([206, 5])
    expect(await status(`"${etag}"`, "bytes=-7")).toEqual([206, 7])
    expect(await status(`"${etag}"`, "bytes=5000-")).toEqual([416, expect.any(Number)])
    for (const stale of [`"${old}"`, `W/"${etag}"`, modified.toUTCString(), "nonsense"]) {
      expect([stale, await status(stale)]).toEqual([stale, [200, 2000]])
      expect([stale, await status(stale, "bytes=-7")]).toEqual([stale, [200, 2000]])
      expect([stale, await status(stale, "bytes=5000-")]).toEqual([stale, [200, 2000]])
    }
  }))

test("conditions of reads: etags, lists of them, dates", () =>
  bench(async ({ ask, store }) => {
    const { etag, modified } = await store.save("a", data)
    const later = new Date(modified.getTime() + 2000).toUTCString()
    const before = new Date(modified.getTime() - 2000).toUTCString()
    const cases: ReadonlyArray<[Record<string, string>, number]> = [
      [{ "if-match": `"${etag}"` }, 200],
      [{ "if-match": `"x", "${etag}"` }, 200],
      [{ "if-match": "*" }, 200],
      [{ "if-match": `W/"${etag}"` }, 412],
      [{ "if-none-match": '"x"' }, 200],
      [{ "if-none-match": `"${etag}"` }, 304],
      [{ "if-none-match": `W/"${etag}"` }, 304],
      [{ "if-none-match": '"x"', "if-modified-since": later }, 200],
      [{ "if-modified-since": later }, 304],
      [{ "if-modified-since": before }, 200],
      [{ "if-modified-since": "yesterday" }, 200],
      [{ "if-unmodified-since": before }, 412],
      [{ "if-unmodified-since": later }, 200],
      [{ "if-match": `"${etag}"`, "if-unmodified-since": before }, 200],
    ]
    for (const [headers, status] of cases) {
      for (const method of ["GET", "HEAD"]) {
        const response = await ask("/o/a", { method, headers })
        expect([headers, method, response.status]).toEqual([headers, method, status])
        if (status === 304) expect([headers, response.headers.get("etag")?.includes(etag)]).toEqual([headers, true])
        await response.body?.cancel()
      }
    }
  }))

test("conditions of writes hold, and what is none is refused with what to send instead", () =>
  bench(async ({ ask, refused, store }) => {
    const made = await ask("/o/a", put("1", { "if-none-match": "*" }))
    expect(made.status).toBe(201)
    expect(await refused("/o/a", put("2", { "if-none-match": "*" }))).toBe("412 AlreadyExists")
    const etag = made.headers.get("etag") ?? ""
    const replaced = await ask("/o/a", put("2", { "if-match": etag }))
    expect(replaced.status).toBe(200)
    expect(await refused("/o/a", put("3", { "if-match": etag }))).toBe("412 PreconditionFailed")
    const refusals: ReadonlyArray<Record<string, string>> = [
      { "if-match": "*" },
      { "if-match": '"a", "b"' },
      { "if-match": "unquoted" },
      { "if-match": `W/${replaced.headers.get("etag")}` },
      { "if-none-match": '"a"' },
      { "if-unmodified-since": new Date().toUTCString() },
      { "content-range": "bytes 0-1/2" },
      { "content-encoding": "gzip" },
      { "content-type": "nonsense" },
      { "holdfast-metadata": "no json" },
      { "holdfast-metadata": '{"a":1}' },
      { "holdfast-metadata": '{"Upper":"1"}' },
      { "content-digest": "md5=:AAAA:" },
    ]
    for (const headers of refusals) {
      expect([headers, await refused("/o/a", put("4", headers))]).toEqual([headers, "400 InvalidInput"])
    }
    expect(await refused("/o/a", { method: "DELETE", headers: { "if-match": etag } })).toBe("412 PreconditionFailed")
    expect(await (await store.load("a")).text()).toBe("2")
    expect(
      (await ask("/o/a", { method: "DELETE", headers: { "if-match": replaced.headers.get("etag") ?? "" } })).status,
    )
      .toBe(204)
  }))

test("a Content-Digest is held against the bytes", () =>
  bench(async ({ ask, refused, store }) => {
    const digest = (text: string) =>
      crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)).then((hash) =>
        `sha-256=:${btoa(String.fromCharCode(...new Uint8Array(hash)))}:`
      )
    expect(await refused("/o/a", put("hello", { "content-digest": await digest("other") }))).toBe("422 Corrupt")
    expect(await store.exists("a")).toBe(false)
    expect((await ask("/o/a", put("hello", { "content-digest": await digest("hello") }))).status).toBe(200)
  }))

test("lists are pages of JSON", () =>
  bench(async ({ ask, refused, store }) => {
    for (const key of ["a/1", "a/2", "b", "ü"]) await store.save(key, key, { compression: "none" })
    const page = async (query: string): Promise<Record<string, Array<unknown>>> =>
      await (await ask(`/l${query}`)).json()
    const { objects, prefixes, cursor } = await page("?delimiter=/&limit=2")
    expect([objects, prefixes]).toEqual([[expect.objectContaining({ key: "b", size: 1 })], ["a/"]])
    const rest = await page(`?delimiter=/&limit=2&cursor=${encodeURIComponent(String(cursor))}`)
    expect([rest["objects"], rest["cursor"]]).toEqual([[expect.objectContaining({ key: "ü" })], undefined])
    expect((await page("?prefix=a/"))["objects"]).toHaveLength(2)
    for (const query of ["?limit=0", "?limit=1001", "?limit=x", "?delimiter=-", "?cursor=nonsense"]) {
      expect([query, await refused(`/l${query}`)]).toEqual([query, "400 InvalidInput"])
    }
    expect(await refused("/l?prefix=a/../b/")).toBe("400 InvalidKey")
  }))

test("there are no routes without authorize", async () => {
  await using store = await openBackend(Memory.make())
  for (
    const options of [{}, { authorize: true }, { authorize: () => true, maxBytes: -1 }, {
      authorize: () => true,
      patience: 0,
    }]
  ) {
    let error: unknown
    try {
      storeRoutes(store, options as never)
    } catch (thrown) {
      error = thrown
    }
    expect([options, StoreError.is(error) && error.reason]).toEqual([options, "Config"])
  }
})

test("fault 144: authorize is asked with verb and key, before a byte of the body is read", () => {
  const asked: Array<string> = []
  const token = "a-token-of-the-test"
  return bench(async ({ ask, refused, store }) => {
    await store.save("a", "1")
    const authorization = `Bearer ${token}`
    const headers = { authorization }
    const json = (value: unknown): RequestInit => ({ method: "POST", headers, body: JSON.stringify(value) })
    const options = JSON.stringify({ writeId: "w", crc32: 0, size: 0 })
    const requests: ReadonlyArray<[string, RequestInit, ...Array<string>]> = [
      ["", { headers }, "describe "],
      ["/l?prefix=a", { headers }, "list a"],
      ["/u?prefix=b", { headers }, "list b"],
      ["/o/a", { headers }, "load a"],
      ["/o/a", { headers, method: "HEAD" }, "stat a"],
      ["/o/b", { ...put("1", headers) }, "save b"],
      ["/o/b", { headers, method: "DELETE" }, "remove b"],
      ["/s/a", { headers }, "stat a"],
      ["/r/a", { headers }, "load a"],
      ["/r/b", { method: "PUT", headers: { ...headers, "holdfast-options": options } }, "save b"],
      ["/r/b", { headers, method: "DELETE" }, "remove b"],
      ["/d", json({ keys: ["x", "y"] }), "remove x", "remove y"],
      ["/c/t", json({ from: "a", writeId: "w" }), "save t", "load a"],
      ["/m/t2", json({ from: "t", writeId: "w2" }), "save t2", "load t", "remove t"],
      ["/u/n", json({ writeId: "w" }), "save n"],
      ["/u/n?id=none", { headers }, "save n"],
      ["/u/n?id=none&number=1&offset=0&size=0&crc32=0", { ...put("", headers) }, "save n"],
      ["/u/n?id=none", json({ parts: [], size: 0, crc32: 0 }), "save n"],
      ["/u/n?id=none", { headers, method: "DELETE" }, "save n"],
    ]
    for (const [path, init, ...expected] of requests) {
      asked.length = 0
      const response = await ask(path, init)
      await response.body?.cancel()
      expect([path, asked]).toEqual([path, expected])
      expect([path, response.status === 401 || response.status === 403]).toEqual([path, false])
      // Which keys it is about is in the body.
      if (path === "/d") continue
      for (const [wrong, status] of [[{}, 401], [{ authorization: `Bearer ${token}x` }, 403]] as const) {
        const body = init.body === undefined
          ? {}
          : { body: new ReadableStream({ pull: () => Promise.reject(new Error("read")) }), duplex: "half" }
        const { status: got, headers } = await ask(
          path,
          { method: init.method ?? "GET", ...body, headers: wrong } as RequestInit,
        )
        expect([path, got, headers.get("www-authenticate")]).toEqual([path, status, status === 401 ? "Bearer" : null])
      }
    }
    // A removal of many is refused key by key.
    const { results } = await (await ask("/d", json({ keys: ["secret/a", "a"] }))).json()
    expect(results.map(({ error }: { error?: { code: string } }) => error?.code)).toEqual(["Forbidden", undefined])
    expect(await refused("/c/t", json({ from: "secret/a", writeId: "w" }))).toBe("403 Forbidden")
  }, {
    authorize: async ({ verb, key, request }) => {
      asked.push(`${verb} ${key}`)
      return !key.startsWith("secret/") && await bearerIs(request, token)
    },
  })
})

/** A body of chunks of its own, and one that is a view of something larger. */
const inChunks = (data: Uint8Array): { readonly chunks: ReadonlyArray<Uint8Array>; readonly init: RequestInit } => {
  const size = 100_000
  const chunks: Array<Uint8Array> = Array.from(
    { length: Math.ceil(data.length / size) },
    (_, i) => data.slice(i * size, (i + 1) * size),
  )
  chunks[0] = data.subarray(0, size)
  const left = [...chunks]
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => left.length === 0 ? controller.close() : controller.enqueue(left.shift()!),
  }, { highWaterMark: 0 })
  return { chunks, init: { method: "PUT", body, duplex: "half" } as RequestInit }
}

for (const ownsBodies of [true, false]) {
  test(`ownsBodies ${ownsBodies}: chunks are ${ownsBodies ? "given back once they are saved" : "left alone"}`, () =>
    bench(async ({ ask, store }) => {
      const data = bytes(5, 3_000_000)
      const head = { writeId: "w", size: data.length, crc32: crc32(data) }
      const upload = await (await ask("/u/part", { method: "POST", body: '{"writeId":"w"}' })).json() as { id: string }
      const paths: ReadonlyArray<readonly [string, Record<string, string>]> = [
        ["/o/object", {}],
        ["/r/put", { "holdfast-options": JSON.stringify(head) }],
        [`/u/part?id=${upload.id}&number=1&offset=0&size=${data.length}&crc32=${head.crc32}`, {}],
      ]
      for (const [path, headers] of paths) {
        const { chunks, init } = inChunks(data)
        expect([path, (await ask(path, { ...init, headers })).status]).toEqual([path, 200])
        const lengths = chunks.map(({ length }) => length)
        expect([path, lengths]).toEqual([path, chunks.map((_, i) => ownsBodies && i > 0 ? 0 : 100_000)])
      }
      const parts = [{ number: 1, offset: 0, size: data.length, crc32: head.crc32 }]
      const end = { method: "POST", body: JSON.stringify({ parts, size: data.length }) }
      expect((await ask(`/u/part?id=${upload.id}`, end)).status).toBe(200)
      for (const key of ["object", "put", "part"]) expectBytes(await (await store.load(key)).bytes(), data, key)
    }, { ownsBodies }))
}

test("an empty token lets nobody in", async () => {
  const request = (authorization: string) => new Request("http://localhost", { headers: { authorization } })
  expect(await bearerIs(request("Bearer "), "")).toBe(false)
  expect(await bearerIs(request("Bearer x"), "")).toBe(false)
  expect(await bearerIs(request("bearer x"), "x")).toBe(true)
  expect(await bearerIs(request("Basic x"), "x")).toBe(false)
  expect(await bearerIs(request("Bearer xy"), "x")).toBe(false)
})

test("calls of the contract that make no sense are refused before anything is stored", () =>
  bench(async ({ ask, refused, store }) => {
    const options = (fields: Record<string, unknown>): RequestInit => ({
      method: "PUT",
      body: "hello",
      headers: { "holdfast-options": JSON.stringify({ writeId: "w", size: 5, crc32: 0x3610a686, ...fields }) },
    })
    expect((await ask("/r/ok", options({}))).status).toBe(200)
    const refusals: ReadonlyArray<[Record<string, unknown>, string]> = [
      [{ writeId: undefined }, "400 InvalidInput"],
      [{ writeId: "../../x" }, "400 InvalidInput"],
      [{ crc32: undefined }, "400 InvalidInput"],
      [{ crc32: 2 ** 32 }, "400 InvalidInput"],
      [{ crc32: 1 }, "422 Corrupt"],
      [{ size: undefined }, "400 InvalidInput"],
      [{ size: 4 }, "400 InvalidInput"],
      [{ size: 6 }, "400 Truncated"],
      [{ size: 2 ** 40 }, "413 TooLarge"],
      [{ metadata: { "holdfast-x": "1" } }, "400 InvalidInput"],
      [{ metadata: { x: 1 } }, "400 InvalidInput"],
      [{ contentType: "x\r\ny" }, "400 InvalidInput"],
      [{ codec: "../x" }, "400 InvalidInput"],
      [{ sha256: "zz" }, "400 InvalidInput"],
      [{ ifNoneMatch: "etag" }, "400 InvalidInput"],
      [{ ifMatch: "a", ifNoneMatch: "*" }, "400 InvalidInput"],
    ]
    for (const [fields, expected] of refusals) {
      expect([fields, await refused("/r/bad", options(fields))]).toEqual([fields, expected])
    }
    expect(await refused("/r/bad", put("hello"))).toBe("400 InvalidInput")
    expect(await refused("/r/bad", put("hello", { "holdfast-options": "[]" }))).toBe("400 InvalidInput")
    expect(await refused("/r/ok?offset=-1")).toBe("400 InvalidInput")
    expect(await refused("/r/ok?length=1e3")).toBe("400 InvalidInput")
    const post = (body: string): RequestInit => ({ method: "POST", body })
    for (
      const [path, body] of [["/d", "{}"], ["/d", '{"keys":[1]}'], ["/d", "nonsense"], ["/u/a", "{}"], [
        "/u/a?id=1",
        "{}",
      ]] as const
    ) {
      expect([path, body, await refused(path, post(body))]).toEqual([path, body, "400 InvalidInput"])
    }
    expect(await refused("/c/a", post('{"from":"../x","writeId":"w"}'))).toBe("400 InvalidKey")
    expect(await refused("/u/a?id=x&number=0&offset=0&size=5&crc32=0", put("hello"))).toBe("400 InvalidInput")
    const keys: Array<string> = []
    for await (const { key } of store.list()) keys.push(key)
    expect(keys).toEqual(["ok"])
  }))

test("methods that mean nothing are 405, with those that do", () =>
  bench(async ({ ask, refused }) => {
    expect(await refused("/o/a", { method: "PATCH" })).toBe("405 InvalidInput")
    expect((await ask("/o/a", { method: "POST" })).headers.get("allow")).toBe("GET, HEAD, PUT, DELETE")
    expect((await ask("/nothing/here")).status).toBe(404)
  }))

test("a failure of the store behind is no fault of the client's", async () => {
  const inner = await Effect.runPromise(Memory.make())
  for (
    const [reason, status] of [["Unauthorized", 502], ["RateLimited", 429], ["Unavailable", 503], [
      "NoSpace",
      507,
    ]] as const
  ) {
    const error = new StoreError({ reason, detail: "because", retryAfter: 1500 })
    await bench(async ({ ask, refused }) => {
      expect(await refused("/o/a", put("x"))).toBe(`${status} ${reason}`)
      expect((await ask("/o/a", put("x"))).headers.get("retry-after")).toBe("2")
    }, { behind: { ...inner, put: () => Effect.fail(error) } })
  }
})

test("objectResponse() answers with a range that was loaded, and cancels what a HEAD does not want", () =>
  bench(async ({ store }) => {
    await store.save("a", data)
    const get = new Request("http://localhost")
    const part = objectResponse(await store.load("a", { offset: 10, length: 5 }), get)
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 10-14/1000"])
    const loaded = await store.load("a")
    const head = objectResponse(loaded, new Request("http://localhost", { method: "HEAD" }))
    expect([head.status, head.headers.get("content-length"), head.body]).toEqual([200, "1000", null])
    expect(await loaded.bytes().then((all) => all.length, () => "cancelled")).not.toBe(1000)
  }))

test("presignRedirect sends those who ask for it to the store's own service", async () => {
  const inner = await Effect.runPromise(Memory.make())
  const asked: Array<unknown> = []
  const behind: Backend = {
    ...inner,
    presign: (method, key, options) => {
      asked.push([method, key, options])
      return Effect.succeed({ url: `https://bucket.example/${key}?signature=1`, headers: {}, expires: new Date(0) })
    },
  }
  const save = async (store: Store): Promise<string> => {
    await store.save("zstd", data, { compression: "gzip" })
    return (await store.save("plain", data, { compression: "none", contentType: "text/plain" })).etag
  }
  await bench(async ({ ask, store }) => {
    const etag = await save(store)
    const redirect = await ask("/o/plain?redirect", { redirect: "manual" })
    expect([redirect.status, redirect.headers.get("location"), redirect.headers.get("cache-control")])
      .toEqual([307, "https://bucket.example/plain?signature=1", "no-store"])
    expect(asked).toEqual([["GET", "plain", {
      expires: 60,
      responseContentType: "text/plain",
      responseContentDisposition: "attachment; filename=\"plain\"; filename*=UTF-8''plain",
    }]])
    // Not asked for, encoded, unchanged, no body: answered here.
    const here: ReadonlyArray<[string, RequestInit, number]> = [
      ["/o/plain", {}, 200],
      ["/o/zstd?redirect", {}, 200],
      ["/o/plain?redirect", { headers: { "if-none-match": `"${etag}"` } }, 304],
      ["/o/plain?redirect", { method: "HEAD" }, 200],
      ["/o/missing?redirect", {}, 404],
    ]
    for (const [path, init, status] of here) expect([path, (await ask(path, init)).status]).toEqual([path, status])
    expect(asked).toHaveLength(1)
  }, { behind, presignRedirect: true })
  await bench(async ({ ask }) => {
    expect((await ask("/o/plain?redirect")).status).toBe(200)
  }, { behind })
})

test("the routes work wherever they are mounted", async () => {
  await using store = await openBackend(Memory.make())
  await store.save("o/a%2f b", "hello")
  const routes = storeRoutes(store, { authorize: () => true })
  const mounts: ReadonlyArray<[string, Hono]> = [
    ["", routes],
    ["", new Hono().route("/", routes)],
    ["/store", new Hono().route("/store", routes)],
    ["/a/b%20c", new Hono().basePath("/a").route("/b c", routes)],
    ["/o/o/o", new Hono().route("/o/o", new Hono().route("/o", routes))],
    ["/acme/files", new Hono().route("/:tenant{[a-z]+}/files", routes)],
    ["/store", new Hono().mount("/store", routes.fetch)],
  ]
  for (const [path, app] of mounts) {
    const response = await app.request(`http://localhost${path}/o/o/a%252f%20b`)
    expect([path, response.status, await response.text()]).toEqual([path, 200, "hello"])
    const page = await (await app.request(`${path}/l?prefix=o/`)).json() as { readonly objects: ReadonlyArray<unknown> }
    expect([path, page.objects.length]).toEqual([path, 1])
    const description = await (await app.request(path === "" ? "/" : path)).json() as Record<string, unknown>
    expect([path, description["holdfast"], description["backend"]]).toEqual([path, 1, "memory"])
  }
})
