/** The catalogue's faults of a server, byte for byte over TCP where that matters. */
import { expect, test } from "bun:test"
import { Hono } from "hono"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import type { Backend } from "../backend.ts"
import { bytes } from "../backends/conformance.ts"
import * as Memory from "../backends/memory.ts"
import { onlyOn } from "../../scripts/only-on.ts"
import { openBackend, type Store } from "../store.ts"
import { storeRoutes, type StoreRoutesOptions } from "./mod.ts"
import { listen, raw, Wire } from "./testing.ts"

interface Served {
  readonly port: number
  readonly store: Store
  readonly inner: Backend
}

/** A store behind a socket at `/store`, over `wrap` of an empty one in memory. */
const serve = async (
  use: (served: Served) => Promise<void>,
  options: Partial<StoreRoutesOptions> = {},
  wrap: (inner: Backend) => Backend = (inner) => inner,
  idleTimeout?: number,
): Promise<void> => {
  const inner = await Effect.runPromise(Memory.make())
  await using store = await openBackend(Effect.succeed(wrap(inner)), {
    compression: "none",
    policy: { retry: "none", breaker: "none" },
  })
  const app = new Hono()
  app.use("/store/o/private/*", async (c) => await c.text("guarded", 401))
  app.route("/store", storeRoutes(store, { authorize: () => true, ...options }))
  await using server = listen((request, env) => app.fetch(request, env ?? {}), 0, idleTimeout)
  await use({ port: server.port, store, inner })
}

const close = "host: x\r\nconnection: close\r\n"
const get = (path: string, headers = ""): string => `GET ${path} HTTP/1.1\r\n${close}${headers}\r\n`

/** All keys, and the uploads that have not ended. */
const left = async (store: Store): Promise<ReadonlyArray<string>> => {
  const keys: Array<string> = []
  for await (const { key } of store.list()) keys.push(key)
  for await (const { key } of store.uploads()) keys.push(`upload of ${key}`)
  return keys
}

/** Whether a client must take this for a whole answer of `length` bytes. Bun sends streams in chunks (bun#10507). */
const isWhole = (text: string, length: number): boolean => {
  const end = text.indexOf("\r\n\r\n") + 4
  const said = /\r\ncontent-length: (\d+)\r\n/i.exec(text.slice(0, end))?.[1]
  if (said !== undefined) return Number(said) === length && text.length - end === length
  if (!/\r\ntransfer-encoding: chunked\r\n/i.test(text.slice(0, end))) throw new Error("a body without any length")
  return text.endsWith("\r\n0\r\n\r\n")
}

const eventually = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (let turn = 0; turn < 2000; turn++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`not within 10 s: ${what}`)
}

test("fault 143: what guards a folder in front of the routes cannot be got around", () =>
  serve(async ({ port, store }) => {
    await store.save("private/a", "secret")
    await store.save("open/a", "public")
    expect((await raw(port, get("/store/o/open/a"))).text).toMatch(/public(?:\r\n0\r\n\r\n)?$/)
    const tries = [
      "private/a",
      "%70rivate/a",
      "private%2fa",
      "private%2Fa",
      "private%252fa",
      "open/../private/a",
      "open/%2e%2e/private/a",
      "open/%2E./private/a",
      "./private/a",
      "%2e/private/a",
      "open%2f..%2fprivate/a",
      "open/..%5cprivate/a",
      "private%5ca",
      "private\\a",
      "/private/a",
      "private//a",
      "%2fprivate/a",
      "private/a%00",
      "private/a%",
      "private/%ff",
      "private/a%c0%af",
    ]
    for (const path of tries) {
      const { status, text } = await raw(port, get(`/store/o/${path}`))
      expect([path, status >= 400 && status < 500, text.includes("secret")]).toEqual([path, true, false])
      const { status: written } = await raw(
        port,
        `PUT /store/o/${path} HTTP/1.1\r\n${close}content-length: 5\r\nif-match: "none"\r\n\r\nwrong`,
      )
      expect([path, written >= 400 && written < 500]).toEqual([path, true])
    }
    expect(await left(store)).toEqual(["open/a", "private/a"])
    expect(await (await store.load("private/a")).text()).toBe("secret")
  }))

test("fault 143: a key is decoded once, whatever it holds", () =>
  serve(async ({ port, store }) => {
    for (const key of ["a%2fb", "%25", "a//b", "/a", "a/", "é ?#&", "a+b", "%2e%2e"]) {
      await store.save(key, `of ${JSON.stringify(key)}`)
      const path = key.split("/").map(encodeURIComponent).join("/")
      const { status, text } = await raw(port, get(`/store/o/${path}`))
      expect([key, status, text.includes(`of ${Buffer.from(JSON.stringify(key)).toString("latin1")}`)])
        .toEqual([key, 200, true])
    }
  }))

test("fault 145: a body that stalls or trickles is given up, and nothing is saved", () =>
  serve(async ({ port, store }) => {
    using stalls = new Wire(port)
    stalls.write(`PUT /store/o/stalls HTTP/1.1\r\n${close}content-length: 10\r\n\r\n12345`)
    using trickles = new Wire(port)
    trickles.write(`PUT /store/o/trickles HTTP/1.1\r\n${close}content-length: 100000\r\n\r\n`)
    const drip = setInterval(() => trickles.socket.destroyed || trickles.write("x"), 20)
    try {
      for (const wire of [stalls, trickles]) {
        expect(await wire.until((text) => text.includes('"code":"Timeout"'))).toMatch(/^HTTP\/1\.1 408 /)
      }
    } finally {
      clearInterval(drip)
    }
    expect(await left(store)).toEqual([])
  }, { patience: 300 }))

onlyOn("bun", "no other runtime ends connections that are quiet")(
  "fault 146: an answer that is quiet for longer than Bun's idle timeout is not cut",
  () =>
    serve(
      async ({ port, store }) => {
        await store.save("a", bytes(1, 1000))
        const { status, text } = await raw(port, get("/store/o/a"))
        expect([status, isWhole(text, 1000)]).toEqual([200, true])
      },
      {},
      (inner) => ({
        ...inner,
        get: (key, options) =>
          Effect.map(inner.get(key, options), (got) => ({
            ...got,
            body: got.body.pipeThrough(
              new TransformStream({ start: () => new Promise((resolve) => setTimeout(resolve, 5500)) }),
            ),
          })),
      }),
      1,
    ),
)

test("fault 147: a body over the limit is 413, whatever it says of its length, and the store is untouched", () =>
  serve(async ({ port, store }) => {
    await store.save("a", "before")
    const chunk = "x".repeat(600)
    const bodies = {
      announced: `content-length: 1001\r\n\r\n`,
      "much announced": `content-length: 99999999\r\n\r\n`,
      chunked: `transfer-encoding: chunked\r\n\r\n258\r\n${chunk}\r\n258\r\n${chunk}\r\n`,
    }
    for (const [name, rest] of Object.entries(bodies)) {
      using wire = new Wire(port)
      wire.write(`PUT /store/o/a HTTP/1.1\r\n${close}${rest}`)
      const text = await wire.until((text) => text.includes('"code"'))
      expect([name, text.split(" ", 2)[1], text.includes('"code":"TooLarge"')]).toEqual([name, "413", true])
    }
    expect(await (await store.load("a")).text()).toBe("before")
    expect(await left(store)).toEqual(["a"])
    const fits = `PUT /store/o/a HTTP/1.1\r\n${close}content-length: 1000\r\n\r\n${"x".repeat(1000)}`
    expect((await raw(port, fits)).status).toBe(200)
  }, { maxBytes: 1000 }))

test("faults 147, 151: a body that ends before its length, or without its last chunk, is not saved", () =>
  serve(async ({ port, store }) => {
    const bodies = ["content-length: 1000\r\n\r\n12345", "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"]
    for (const how of ["end", "reset"] as const) {
      for (const rest of bodies) {
        const path = `/store/o/${how}`
        using wire = new Wire(port)
        wire.write(`PUT ${path} HTTP/1.1\r\nhost: x\r\n${rest}`)
        await new Promise((resolve) => setTimeout(resolve, 30))
        if (how === "end") wire.socket.end()
        else wire.reset()
        await wire.end()
      }
    }
    // Whatever the server makes of them, it has by now made of those before.
    const last = await raw(port, `PUT /store/o/last HTTP/1.1\r\n${close}content-length: 1\r\n\r\n1`)
    expect(last.status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await left(store)).toEqual(["last"])
  }))

test("fault 148: a compressed body is refused unread, so none can blow up", () =>
  serve(async ({ port, store }) => {
    for (const encoding of ["gzip", "zstd", "br", "deflate", "gzip, identity"]) {
      using wire = new Wire(port)
      wire.write(`PUT /store/o/a HTTP/1.1\r\n${close}content-encoding: ${encoding}\r\ncontent-length: 1000000\r\n\r\n`)
      const text = await wire.until((text) => text.includes('"code"'))
      expect([encoding, text.split(" ", 2)[1]]).toEqual([encoding, "400"])
      expect(text).toContain("without content-encoding")
    }
    expect(await left(store)).toEqual([])
  }))

test("fault 149: a thousand ranges cost no more than the object", async () => {
  let gets = 0
  await serve(
    async ({ port, store }) => {
      await store.save("a", bytes(1, 5000))
      const many = Array.from({ length: 1000 }, (_, i) => `${i}-4999`).join(",")
      for (
        const range of [`bytes=${many}`, "bytes=0-0,1-1", "bytes=0-18446744073709551615", "bytes=-18446744073709551615"]
      ) {
        gets = 0
        const { status, text } = await raw(port, get("/store/o/a", `range: ${range}\r\n`))
        expect([range, status, gets <= 1, text.length < 10_000]).toEqual([range, 200, true, true])
      }
    },
    {},
    (inner) => ({ ...inner, get: (key, options) => (gets++, inner.get(key, options)) }),
  )
})

/** A store whose large bodies say when they are cancelled. */
const watched = () => {
  const seen = { opened: 0, cancelled: 0 }
  const wrap = (inner: Backend): Backend => ({
    ...inner,
    get: (key, options) =>
      Effect.map(inner.get(key, options), (got) => {
        seen.opened++
        const reader = got.body.getReader()
        return {
          ...got,
          body: new ReadableStream<Uint8Array>({
            pull: async (controller) => {
              const { done, value } = await reader.read()
              if (done) controller.close()
              else controller.enqueue(value)
            },
            cancel: async (reason) => {
              seen.cancelled++
              await reader.cancel(reason)
            },
          }, { highWaterMark: 0 }),
        }
      }),
  })
  return { seen, wrap }
}

for (const path of ["/store/o/a", "/store/r/a"]) {
  test(`fault 151: a client that leaves in the middle of ${path} ends the read of the store`, async () => {
    const { seen, wrap } = watched()
    await serve(
      async ({ port, store }) => {
        await store.save("a", bytes(1, 64 * 2 ** 20))
        using wire = new Wire(port)
        wire.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
        await wire.until((text) => text.length > 100_000)
        wire.socket.pause()
        wire.reset()
        await eventually("the body of the store is cancelled", () => seen.cancelled === 1)
        expect(seen).toEqual({ opened: 1, cancelled: 1 })
      },
      {},
      wrap,
    )
  })

  test(`fault 152: a store that dies in the middle of ${path} breaks the connection`, () =>
    serve(
      async ({ port, store }) => {
        await store.save("a", bytes(1, 3_000_000))
        const { text } = await raw(port, get(path))
        expect(text).toMatch(/^HTTP\/1\.1 200 /)
        expect(isWhole(text, 3_000_000)).toBe(false)
      },
      {},
      (inner) => ({
        ...inner,
        get: (key, options) =>
          Effect.map(inner.get(key, options), (got) => {
            const reader = got.body.getReader()
            let left = 1_000_000
            return {
              ...got,
              body: new ReadableStream<Uint8Array>({
                pull: async (controller) => {
                  const { value } = await reader.read()
                  left -= value?.length ?? 0
                  if (value === undefined || left < 0) throw new Error("the store has died")
                  controller.enqueue(value)
                },
              }, { highWaterMark: 0 }),
            }
          }),
      }),
    ))
}

test("fault 151: an upload whose client leaves ends, and its parts are freed", async () => {
  let begun = 0
  await serve(
    async ({ port, store }) => {
      using wire = new Wire(port)
      wire.write(`PUT /store/o/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`)
      const piece = new Uint8Array(2 ** 20)
      for (let i = 0; i < 3; i++) {
        wire.write("100000\r\n")
        wire.write(piece)
        wire.write("\r\n")
      }
      await eventually("an upload is begun", () => begun === 1)
      wire.reset()
      await eventually("nothing is left", async () => (await left(store)).length === 0)
    },
    {},
    (inner) => ({
      ...inner,
      createUpload: (key, options) => Effect.tap(inner.createUpload(key, options), () => Effect.sync(() => begun++)),
    }),
  )
})

test("fault 151: a body that breaks where its sender is still there may be sent again, and says so", async () => {
  await using store = await openBackend(Memory.make(), { policy: { retry: "none" } })
  const routes = storeRoutes(store, { authorize: () => true })
  const broken = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error("what is between us has gone")),
  }, { highWaterMark: 0 })
  const init = { method: "PUT", body: broken, duplex: "half" } as RequestInit
  const reply = await routes.fetch(new Request("http://localhost/o/a", init))
  expect(reply.status).toBe(400)
  expect(await reply.json()).toMatchObject({ code: "Aborted", transient: true, ambiguous: false })
  expect(await left(store)).toEqual([])
})

test("fault 153: a stored page cannot run in the server's origin, nor a name break out of its header", () =>
  serve(async ({ port, store }) => {
    const key = 'pages/"x";filename=evil.html é%0d%0aset-cookie: a=b'
    await store.save(key, "<script>alert(1)</script>", { contentType: "text/html" })
    const { text } = await raw(port, get(`/store/o/${key.split("/").map(encodeURIComponent).join("/")}`))
    const head = text.slice(0, text.indexOf("\r\n\r\n")).toLowerCase()
    expect(head).toContain("\r\nx-content-type-options: nosniff")
    expect(head).toContain("\r\ncontent-security-policy: sandbox; default-src 'none'")
    expect(head).not.toContain("\r\nset-cookie")
    expect(/\r\ncontent-disposition: (.*)/.exec(head)?.[1]).toBe(
      'attachment; filename="_x__filename_evil.html __0d_0aset-cookie_ a_b"; filename*=utf-8' +
        "''%22x%22%3bfilename%3devil.html%20%c3%a9%250d%250aset-cookie%3a%20a%3db",
    )
  }))
