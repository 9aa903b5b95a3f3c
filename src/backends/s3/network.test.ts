/** Faults of the network and of HTTP, over real sockets where the runtime's `fetch` is part of the story. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { StoreError } from "../../error.ts"
import type { PeerFault, PeerRule } from "../../testing/s3/mod.ts"
import { bytes, collect, expectBytes, expectReason, putOptions, read } from "../conformance.ts"
import { type Bench, open } from "./testing.ts"

const data = bytes(7, 300_000)

/** A store on a peer behind a socket, with one object `k` in it. */
const overSocket = async (use: (bench: Bench & { readonly url: string }) => Promise<void>): Promise<void> => {
  const inside = await Effect.runPromise(open())
  await Effect.runPromise(inside.store.save("k", data))
  await using server = await inside.peer.listen()
  const { backend, store } = await Effect.runPromise(
    open({ endpoint: server.url, fetch: (url, init) => fetch(url, init), stores: { idleTimeout: 300 } }),
  )
  await use({ peer: inside.peer, backend, store, url: server.url })
}

const rule = (operation: PeerRule["operation"], fault: PeerFault, more?: Partial<PeerRule>): PeerRule => ({
  operation,
  fault,
  ...more,
})

const cuts: ReadonlyArray<readonly [name: string, fault: PeerFault]> = [
  ["fault 1: a body shorter than its length", { kind: "cut", at: 200_000, how: "fin" }],
  ["fault 2: a reset in the middle of a body", { kind: "cut", at: 200_000, how: "reset" }],
  ["fault 6: a body that stalls", { kind: "stall", at: 200_000 }],
]

for (const [name, fault] of cuts) {
  test(`${name} is asked for again from the byte where it stopped`, () =>
    overSocket(async ({ peer, store }) => {
      peer.script([rule("GetObject", fault, { nth: 1 })])
      const loaded = await Effect.runPromise(store.load("k"))
      expectBytes(await loaded.bytes(), data, "the object")
      const ranges = peer.requests.filter(({ operation }) => operation === "GetObject").slice(-2)
        .map(({ headers }) => Object.fromEntries(headers)["range"])
      expect(ranges[1]).toMatch(/^bytes=\d+-299999$/)
      expect(Number(/\d+/.exec(ranges[1]!)![0])).toBeLessThanOrEqual(200_000)
    }))

  // A stall has no end of its own; the engine's idle timeout is what ends it, above.
  if (fault.kind === "stall") continue
  test(`${name} is an error of the backend itself, never a short end`, () =>
    overSocket(async ({ peer, backend }) => {
      peer.script([rule("GetObject", fault)])
      const { body } = await Effect.runPromise(backend.get("k"))
      const error = await collect(body).then(() => "a quiet end", (thrown: unknown) => thrown)
      if (!StoreError.is(error)) throw new Error(`got ${error}`)
      expect(["Truncated", "Unavailable"]).toContain(error.reason)
      expect(error.transient).toBe(true)
    }))
}

const framings = [
  ["fault 3: chunks without the last one", "openChunks"],
  ["fault 4: chunks cut in the trailer", "tornChunks"],
  ["fault 5: a body without a length, whose connection ends", "close"],
] as const

for (const [name, framing] of framings) {
  test(`${name}: a body whose length nobody says is refused`, () =>
    overSocket(async ({ peer, backend }) => {
      peer.script([rule("GetObject", { kind: "framing", framing })])
      const error = await Effect.runPromise(expectReason(backend.get("k"), "Protocol"))
      expect(error.message).toContain("does not say how long")
    }))

  test(`${name}: a range says its length, and the bytes are counted`, () =>
    overSocket(async ({ peer, backend }) => {
      peer.script([rule("GetObject", { kind: "framing", framing }), rule("GetObject", { kind: "cut", at: 500 })])
      const { body } = await Effect.runPromise(backend.get("k", { offset: 10, length: 1000 }))
      const error = await collect(body).then(() => "a quiet end", (thrown: unknown) => thrown)
      expect([String(error), StoreError.is(error) && error.transient]).toEqual([String(error), true])
    }))
}

test("faults 7, 9: a request that is held, or refused a connection, ends with the call and is told", () =>
  overSocket(async ({ peer, backend }) => {
    peer.script([rule("HeadObject", { kind: "hold" })])
    const fiber = Effect.runFork(backend.stat("k"))
    while (peer.count("HeadObject") === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const exit = await Effect.runPromise(Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)))
    expect(Exit.isFailure(exit)).toBe(true)
    const closed = createServer()
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve))
    const { port } = closed.address() as AddressInfo
    await new Promise((resolve) => closed.close(resolve))
    const lost = await Effect.runPromise(
      open({ endpoint: `http://127.0.0.1:${port}`, fetch: (url, init) => fetch(url, init) }),
    )
    const error = await Effect.runPromise(expectReason(lost.backend.put("k", data, putOptions(data)), "Unavailable"))
    expect([error.transient, error.ambiguous]).toEqual([true, false])
    expect(error.message).toContain("network")
    expect(error.hint).toContain("endpoint")
  }))

test("fault 10: a connection that closes without an answer is tried again", () =>
  overSocket(async ({ peer, store }) => {
    peer.script([rule("PutObject", { kind: "drop", when: "early" }, { nth: 1 })])
    const info = await Effect.runPromise(store.save("again", data))
    expect(peer.object("test", "again")?.bytes.length).toBe(info.size)
  }))

test("fault 11: an answer that comes while the body is still being sent is the one reported", () =>
  overSocket(async ({ peer, backend }) => {
    peer.script([rule("PutObject", { kind: "error", status: 403, code: "AccessDenied", when: "early" })])
    const large = bytes(1, 4 * 1024 * 1024)
    const error = await Effect.runPromise(
      expectReason(backend.put("large", large, putOptions(large)), "Forbidden", "Unavailable"),
    )
    // A runtime may lose the answer when the connection is closed behind it; it must not make up another one.
    if (error.reason === "Forbidden") expect(error.message).toContain('access denied to bucket "test"')
    else expect(error.transient).toBe(true)
    expect(peer.object("test", "large")).toBeUndefined()
  }))

test("faults 15, 16: a page instead of an answer, or no HTTP at all, is Protocol or Unavailable and not an object", () =>
  overSocket(async ({ peer, backend }) => {
    const page = "<html><body>Please log in<br></body></html>"
    const portal: PeerFault = {
      kind: "rewrite",
      reply: (reply) => ({
        ...reply,
        status: 200,
        headers: { "content-type": "text/html" },
        body: new TextEncoder().encode(page),
      }),
    }
    peer.script([{ fault: portal }])
    const upload = { id: "u", key: "k" }
    const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
      backend.stat("k"),
      backend.get("k"),
      backend.list(),
      backend.put("k", data, putOptions(data)),
      backend.removeMany(["k"]),
      backend.createUpload("k", { writeId: "w" }),
      backend.putPart(upload, { number: 1, offset: 0, crc32: 0 }, new Uint8Array(0)),
      backend.completeUpload(upload, [{ number: 1, offset: 0, size: 0, etag: "e" }], { size: 0 }),
      backend.listParts!(upload),
      backend.listUploads!(),
      backend.listVersions!(),
      backend.copy!("k", "c", { writeId: "w" }),
    ]
    for (const call of calls) {
      const error = await Effect.runPromise(expectReason(call, "Protocol"))
      expect([error.transient, error.message.includes("log in")]).toEqual([false, false])
    }
    peer.script([{ fault: { kind: "raw", bytes: "SSH-2.0-OpenSSH_9.2\r\n" } }])
    await Effect.runPromise(expectReason(backend.stat("k"), "Unavailable"))
  }))

test("faults 17, 110: an answer to another range, or to another request, is found out and asked for again", () =>
  overSocket(async ({ peer, backend, store }) => {
    const wrong: ReadonlyArray<Record<string, string | undefined>> = [
      { "content-range": "bytes 1-1000/300000" },
      { "content-range": "bytes 0-999/*" },
      { "content-range": undefined },
      { "content-range": "bytes 0-998/300000" },
      { etag: undefined },
    ]
    for (const set of wrong) {
      peer.script([rule("GetObject", { kind: "headers", set })])
      await Effect.runPromise(expectReason(backend.get("k", { offset: 0, length: 1000 }), "Protocol"))
    }
    peer.script([rule("GetObject", { kind: "headers", set: { "content-range": "bytes 1-1000/300000" } }, { nth: 1 })])
    const loaded = await Effect.runPromise(store.load("k", { offset: 0, length: 1000 }))
    expectBytes(await loaded.bytes(), data.slice(0, 1000), "the range")
    peer.script([rule("GetObject", { kind: "headers", set: { "x-amz-meta-holdfast-write-id": "another" } })])
    const { etag } = await Effect.runPromise(backend.stat("k"))
    await Effect.runPromise(expectReason(backend.get("k", { ifMatch: etag }), "PreconditionFailed"))
  }))

test("fault 110: a service that ignores a range still gives the right bytes", () =>
  overSocket(async ({ peer, backend }) => {
    peer.script([rule("GetObject", { kind: "ignoreRange" })])
    for (const [offset, length] of [[0, 10], [100_000, 50_000], [299_999, 1], [299_000, undefined]] as const) {
      const found = await Effect.runPromise(read(backend, "k", { offset, length }))
      expectBytes(found.data, data.slice(offset, length === undefined ? undefined : offset + length), `from ${offset}`)
    }
    await Effect.runPromise(expectReason(backend.get("k", { offset: 300_000, length: 1 }), "RangeNotSatisfiable"))
    const { body } = await Effect.runPromise(backend.get("k", { offset: 200_000, length: 10 }))
    await body.cancel()
  }))

test("fault 18: a redirect is never followed, and no header of ours reaches its target", async () => {
  let reached = 0
  const target = createServer((_, response) => {
    reached++
    response.end()
  })
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve))
  const { port } = target.address() as AddressInfo
  await overSocket(async ({ peer, backend }) => {
    for (const status of [301, 302, 307, 308]) {
      const location = `http://127.0.0.1:${port}/k`
      peer.script([{ fault: { kind: "reply", status, headers: { location } } }])
      for (const call of [backend.stat("k"), backend.get("k"), backend.put("k", data, putOptions(data))]) {
        const error = await Effect.runPromise(expectReason<unknown, never>(call, "Config"))
        expect([error.transient, error.message.includes(String(port))]).toEqual([false, false])
      }
    }
  })
  expect(reached).toBe(0)
  await new Promise((resolve) => target.close(resolve))
})

test("fault 20: an object that says it is encoded loads as it is stored; a proxy that encodes answers is refused", () =>
  overSocket(async ({ peer, backend, store }) => {
    const stored = new Uint8Array(
      await new Response(new Blob([data]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
    )
    await Effect.runPromise(store.save("zipped", stored))
    peer.script([{
      operation: "GetObject",
      key: "zipped",
      fault: {
        kind: "rewrite",
        // As a service answers that keeps the encoding with the object, and lets the request override it.
        reply: (reply) =>
          peer.requests.at(-1)!.target.includes("response-content-encoding")
            ? reply
            : { ...reply, headers: { ...reply.headers, "content-encoding": "gzip" } },
      },
    }])
    expectBytes((await Effect.runPromise(read(backend, "zipped"))).data, stored, "the stored bytes")
    expectBytes((await Effect.runPromise(read(backend, "zipped", { offset: 5 }))).data, stored.slice(5), "a range")
    peer.script([rule("GetObject", { kind: "gzip" })])
    await Effect.runPromise(expectReason(backend.get("k"), "Unsupported"))
  }))

test("fault 86: a body that is cancelled, or never read, keeps no connection busy", () =>
  overSocket(async ({ peer, backend }) => {
    for (let round = 0; round < 50; round++) {
      const { body } = await Effect.runPromise(backend.get("k"))
      await body.cancel()
    }
    expect(peer.count("GetObject")).toBe(50)
    expectBytes((await Effect.runPromise(read(backend, "k"))).data, data, "the object")
  }))

test("an interrupted get leaves nothing open, at whatever moment it comes", () =>
  overSocket(async ({ backend }) => {
    for (let turns = 0; turns < 20; turns++) {
      const fiber = Effect.runFork(backend.get("k"))
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      await Effect.runPromise(Fiber.interrupt(fiber))
    }
    expectBytes((await Effect.runPromise(read(backend, "k"))).data, data, "the object")
  }))
