/** What becomes of a WebDAV store when its server does not do what it should. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Backend } from "../../backend.ts"
import { type Reason, StoreError } from "../../error.ts"
import { openBackend, type Store } from "../../store.ts"
import { bytes, collect, conformance, expectBytes, putOptions, register } from "../conformance.ts"
import { withPolicy } from "../../policy.ts"
import { make } from "./mod.ts"
import { type Etags, makePeer, type Peer } from "./testing.ts"

const url = "http://dav.example"

const backendOf = (peer: Peer): Promise<Backend> => Effect.runPromise(make({ url, fetch: peer.fetch }))

const storeOf = (peer: Peer): Promise<Store> =>
  openBackend(make({ url, fetch: peer.fetch }), { compression: "none", policy: { breaker: "none" } })

const fails = async (work: Promise<unknown>): Promise<StoreError> => {
  const error = await work.then((value) => new Error(`succeeded with ${value}`), (error: unknown) => error)
  if (!StoreError.is(error)) throw error
  return error
}

const put = (backend: Backend, key: string, data: Uint8Array, more?: object) =>
  Effect.runPromise(backend.put(key, data, putOptions(data, more)))

const get = async (backend: Backend, key: string): Promise<Uint8Array> =>
  await collect((await Effect.runPromise(backend.get(key))).body)

/** What is there but objects and their records. */
const debris = ({ files }: Peer): ReadonlyArray<string> =>
  [...files.keys()].filter((name) => name.startsWith("/.holdfast/tmp/"))

const records = ({ files }: Peer): number =>
  [...files.keys()].filter((name) => name.startsWith("/.holdfast/meta/")).length

const data = bytes(1, 1000)

for (const etags of ["seconds", "unique"] as const satisfies ReadonlyArray<Etags>) {
  register(
    test,
    (await conformance(`webdav (etags: ${etags})`, () => {
      const peer = makePeer(etags)
      return Effect.map(make({ url, fetch: peer.fetch }), (backend) => withPolicy(backend))
    })).map((one) =>
      one.skipped === undefined && /however odd|1,024 bytes/.test(one.name)
        ? { ...one, skipped: "a segment of a key is a file's name: 255 bytes" }
        : one
    ),
  )
}

test("a store leaves one file and one record for each object, however often it is replaced", async () => {
  const peer = makePeer("unique")
  const backend = await backendOf(peer)
  for (let i = 0; i < 5; i++) await put(backend, "a/b", bytes(i, 100 + i))
  expect([peer.files.has("/a/b"), records(peer), debris(peer)]).toEqual([true, 1, []])
  await Effect.runPromise(backend.remove("a/b"))
  expect([peer.files.size, records(peer)]).toEqual([0, 0])
})

test("two writes of one second and one size are two writes, also for whoever reads in between", async () => {
  const peer = makePeer("seconds")
  const backend = await backendOf(peer)
  await put(backend, "a", bytes(1, 100), { metadata: { n: "1" } })
  const { info, body } = await Effect.runPromise(backend.get("a"))
  await put(backend, "a", bytes(2, 100), { metadata: { n: "2" } })
  await put(backend, "a", bytes(3, 100), { metadata: { n: "3" } })
  expectBytes(await collect(body), bytes(1, 100), "the first")
  expect(info.metadata).toEqual({ n: "1" })
  const now = await Effect.runPromise(backend.get("a"))
  expectBytes(await collect(now.body), bytes(3, 100), "the third")
  expect([now.info.metadata, now.info.etag === info.etag]).toEqual([{ n: "3" }, false])
})

test("a server that gives a moved file another etag is Unsupported, and told so with the first save", async () => {
  const peer = makePeer("moving")
  const error = await fails(put(await backendOf(peer), "a", data))
  expect([error.reason, error.detail]).toEqual([
    "Unsupported",
    "this server gives a file another etag when it is moved",
  ])
})

test("a file that another program wrote loads as it is, with a weak etag, and again after it was changed", async () => {
  const peer = makePeer("seconds")
  const backend = await backendOf(peer)
  await put(backend, "a", data, { metadata: { n: "1" } })
  peer.now += 5000
  await peer.fetch(`${url}/a`, { method: "PUT", body: "another's" })
  const { info, body } = await Effect.runPromise(backend.get("a"))
  expect(new TextDecoder().decode(await collect(body))).toBe("another's")
  expect([info.metadata, info.etag.startsWith("W/"), info.writeId]).toEqual([{}, true, undefined])
})

test("a lost answer to the move that makes an object is settled: it is saved once, or not at all", async () => {
  const peer = makePeer("unique")
  let lost = 0
  peer.script = (method, path) => method === "MOVE" && !path.endsWith(".json") && lost++ === 0 ? "lost" : undefined
  await using store = await storeOf(peer)
  const info = await store.save("a", data)
  expect(lost).toBeGreaterThan(0)
  expect((await store.stat("a")).writeId).toBe(info.writeId)
  expectBytes(await (await store.load("a")).bytes(), data, "the object")
  expect(debris(peer)).toEqual([])
})

test("a put that is given up while the server moves its file leaves an object with all of its facts, or none", async () => {
  const peer = makePeer("unique")
  const moving = Promise.withResolvers<void>()
  const stuck: Peer["fetch"] = async (to, init) => {
    const response = await peer.fetch(to, init)
    if (init.method !== "MOVE" || to.endsWith(".json")) return response
    moving.resolve()
    return await new Promise((_, reject) =>
      init.signal!.addEventListener("abort", () => reject(init.signal!.reason), { once: true })
    )
  }
  const backend = await Effect.runPromise(make({ url, fetch: stuck }))
  const giveUp = new AbortController()
  const options = putOptions(data, { codec: "zstd", metadata: { n: "1" } })
  const put = Effect.runPromise(backend.put("a", data, options), { signal: giveUp.signal })
  put.catch(() => undefined)
  await moving.promise
  giveUp.abort()
  expect(await put.then(() => "saved", () => "given up")).toBe("given up")
  const info = await Effect.runPromise((await backendOf(peer)).stat("a"))
  expect([info.codec, info.metadata, info.writeId]).toEqual(["zstd", { n: "1" }, options.writeId])
})

for (const fate of ["lost", "unsent"] as const) {
  test(`every request of a save and a load may be ${fate} once: the object is there, whole`, async () => {
    const clean = makePeer("unique")
    await using first = await storeOf(clean)
    await first.save("a/b", data)
    await (await first.load("a/b")).bytes()
    const total = clean.asked.length
    expect(total).toBeGreaterThan(10)
    for (let fault = 0; fault < total; fault++) {
      const peer = makePeer("unique")
      peer.script = () => peer.asked.length - 1 === fault ? fate : undefined
      await using store = await storeOf(peer)
      await store.save("a/b", data)
      expectBytes(await (await store.load("a/b")).bytes(), data, `the object with fault ${fault}`)
      expect(debris(peer).length).toBeLessThanOrEqual(1)
    }
  })
}

test("a body that the server cut while it was sent is never made an object", async () => {
  const peer = makePeer("unique")
  const backend = await backendOf(peer)
  await put(backend, "a", data)
  peer.script = (method, path) => {
    if (method !== "HEAD" || !path.startsWith("/.holdfast/tmp/")) return undefined
    const file = peer.files.get(path)!
    file.bytes = file.bytes.subarray(0, 10)
    return undefined
  }
  const error = await fails(put(backend, "a", bytes(2, 1000)))
  expect([error.reason, error.transient, error.ambiguous]).toEqual(["Truncated", true, false])
  expectBytes(await get(backend, "a"), data, "the object")
  expect([debris(peer), records(peer)]).toEqual([[], 1])
})

test("a body that ends early, or goes on, is an error and no end", async () => {
  const peer = makePeer("unique")
  const backend = await backendOf(peer)
  await put(backend, "a", data)
  for (const [length, reason] of [[500, "Truncated"], [1001, "Protocol"]] as const) {
    peer.answer = (method, path, response) =>
      method === "GET" && path === "/a" ? new Response(new Uint8Array(length), response) : response
    expect((await fails(get(backend, "a"))).reason).toBe(reason)
  }
})

test("what a server refuses has its reason, and says whether trying again may help", async () => {
  const cases: ReadonlyArray<readonly [number, Reason, boolean]> = [
    [401, "Unauthorized", false],
    [403, "Forbidden", false],
    [413, "TooLarge", false],
    [423, "Conflict", true],
    [429, "RateLimited", true],
    [503, "Unavailable", true],
    [507, "NoSpace", false],
  ]
  for (const [status, reason, transient] of cases) {
    const peer = makePeer()
    const backend = await backendOf(peer)
    peer.script = (method) => method === "PUT" ? new Response("why", { status }) : undefined
    const error = await fails(put(backend, "a", data))
    expect([status, error.reason, error.transient]).toEqual([status, reason, transient])
    expect(peer.files.size).toBe(0)
  }
})

test("a 207 to a move says that it failed in part, and is no success", async () => {
  const peer = makePeer()
  const backend = await backendOf(peer)
  peer.script = (method, path) =>
    method === "MOVE" && !path.endsWith(".json") ? new Response("<multistatus/>", { status: 207 }) : undefined
  const error = await fails(put(backend, "a", data))
  expect([error.reason, error.ambiguous]).toEqual(["Conflict", true])
})

test("a redirect is not followed, and credentials go nowhere else", async () => {
  const peer = makePeer()
  const hosts = new Set<string>()
  const backend = await Effect.runPromise(
    make({
      url,
      user: "u",
      password: "canary",
      fetch: (to, init) => {
        hosts.add(new URL(to).host)
        expect([init.redirect, new Headers(init.headers).get("authorization")]).toEqual([
          "manual",
          `Basic ${btoa("u:canary")}`,
        ])
        return peer.fetch(to, init)
      },
    }),
  )
  await put(backend, "a", data)
  peer.script = (method, path) =>
    method === "GET" && path === "/a"
      ? new Response(null, { status: 302, headers: { location: "http://evil.example/a" } })
      : undefined
  const error = await fails(get(backend, "a"))
  expect([error.reason, hosts]).toEqual(["Config", new Set(["dav.example"])])
  expect(JSON.stringify(error) + error.message).not.toContain("canary")
})

test("a list that is cut off is an error and no short list", async () => {
  const peer = makePeer("unique")
  const backend = await backendOf(peer)
  for (const key of ["a", "b", "c"]) await put(backend, key, data)
  const { objects } = await Effect.runPromise(backend.list())
  expect(objects.map(({ key, size }) => [key, size])).toEqual([["a", 1000], ["b", 1000], ["c", 1000]])
  const whole = await (await peer.fetch(`${url}/`, { method: "PROPFIND", headers: { depth: "1" } })).text()
  for (let length = 0; length < whole.length; length += 7) {
    peer.answer = (method, _, response) =>
      method === "PROPFIND" ? new Response(whole.slice(0, length), response) : response
    expect((await fails(Effect.runPromise(backend.list()))).reason).toBe("Protocol")
  }
})

test("an object is never moved onto a folder with objects, which a server would take away", async () => {
  const peer = makePeer()
  const backend = await backendOf(peer)
  await put(backend, "a/b/c", data)
  expect((await fails(put(backend, "a/b", data))).reason).toBe("Conflict")
  await Effect.runPromise(backend.remove("a/b"))
  await Effect.runPromise(backend.remove("a"))
  expectBytes(await get(backend, "a/b/c"), data, "the object")
  expect(debris(peer)).toEqual([])
})

test("a record that is damaged is Corrupt, and the key can be saved again", async () => {
  const peer = makePeer()
  const backend = await backendOf(peer)
  await put(backend, "a", data)
  for (const [name, file] of peer.files) if (name.endsWith(".json")) file.bytes = file.bytes.subarray(3)
  expect((await fails(get(backend, "a"))).reason).toBe("Corrupt")
  peer.now += 5000
  await put(backend, "a", data)
  expectBytes(await get(backend, "a"), data, "the object")
})

test("options that cannot work are a Config error before anything is asked", async () => {
  const wrong: ReadonlyArray<Parameters<typeof make>[0]> = [
    { url: "ftp://x" },
    { url: "http://user:secret@x" },
    { url: "http://x/?token=secret" },
    { url, user: "a:b", password: "secret" },
    { url, password: "secret" },
    { url, token: "secret", user: "u" },
    { url, token: "sec ret" },
  ]
  for (const options of wrong) {
    const error = await fails(Effect.runPromise(make(options)))
    expect(error.reason).toBe("Config")
    expect(`${error.message} ${error.hint}`).not.toContain("secret")
  }
})

test("the folder of a store that is new is made with its first object", async () => {
  const peer = makePeer()
  await using store = await openBackend(make({ url: `${url}/stores`, fetch: peer.fetch }))
  expect(await Array.fromAsync(store.list())).toEqual([])
  await store.save("a/b", "hello")
  expect(await (await store.load("a/b")).text()).toBe("hello")
  expect([...peer.files.keys()]).toContain("/stores/a/b")
  const deep = await openBackend(make({ url: `${url}/none/stores`, fetch: peer.fetch }), { policy: { retry: "none" } })
  expect((await fails(deep.save("a", "hello"))).reason).toBe("Conflict")
})
