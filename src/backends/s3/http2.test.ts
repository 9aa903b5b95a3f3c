/**
 * Faults of HTTP/2, for those who reach their store by it: Deno's `fetch` does where the server can, Bun's when told so.
 *
 * The peer is served by `node:http2`, and a front with TLS changes the frames that come out of it, because not every
 * runtime's server can end a stream wrongly.
 *
 * @module
 */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { createServer as createHttp2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2"
import { type AddressInfo, connect, type Server as NetServer, type Socket } from "node:net"
import process from "node:process"
import { createServer as createTlsServer } from "node:tls"
import { StoreError } from "../../error.ts"
import type { S3Peer } from "../../testing/s3/mod.ts"
import { bytes, collect, expectBytes, expectReason, putOptions } from "../conformance.ts"
import { noAnswer } from "./errors.ts"
import { type Bench, open } from "./testing.ts"

/** Of 127.0.0.1 and of no use elsewhere; until 2120. The key is no secret. */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBjTCCATOgAwIBAgIUSPxn5YzdehVq1q8FzpW/MflDVPEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMTE5Mzk1OVoYDzIxMjAxMDE5
MTkzOTU5WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARLCFuyA8m5cODM2BCGurDYW87wq6No4P9jgbEey6mmZaxkPa+xx/km
CsBsiVoQDt5FypuYHTMI9xlGlqqvAwnpo2EwXzAdBgNVHQ4EFgQUSjOh9SARuGBQ
zuBv3ckbEEXNAlgwHwYDVR0jBBgwFoAUSjOh9SARuGBQzuBv3ckbEEXNAlgwDwYD
VR0RBAgwBocEfwAAATAMBgNVHRMBAf8EAjAAMAoGCCqGSM49BAMCA0gAMEUCIDD7
2NsurYvS8UH0LHK+JaCl2eeY/59QkwgLPGyJdornAiEA1gshPXS8/o0BmUBR5jpi
lnBnom3PfTWf9SXNLIft/CM=
-----END CERTIFICATE-----
`
const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgK4EmRbQGm7F6lOcg
wG2jXsrDB/SZbpeZZFIAqeI/cVKhRANCAARLCFuyA8m5cODM2BCGurDYW87wq6No
4P9jgbEey6mmZaxkPa+xx/kmCsBsiVoQDt5FypuYHTMI9xlGlqqvAwnp
-----END PRIVATE KEY-----
`

// https://www.rfc-editor.org/rfc/rfc9113.html, sections 6 and 7.
const [typeData, typeHeaders, typeReset, typeGoAway] = [0, 1, 3, 7]
const endStream = 1
const [noError, internalError, refusedStream] = [0, 2, 7]

const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(9 + payload.length)
  const view = new DataView(whole.buffer)
  view.setUint32(0, payload.length << 8 | type)
  view.setUint8(4, flags)
  view.setUint32(5, stream)
  whole.set(payload, 9)
  return whole
}

const numbers = (...values: ReadonlyArray<number>): Uint8Array => {
  const view = new DataView(new ArrayBuffer(4 * values.length))
  values.forEach((value, index) => view.setUint32(4 * index, value))
  return new Uint8Array(view.buffer)
}

/** What becomes of one request. */
interface Fault {
  /** When: before the service has seen it, with its answer ready, or after so many bytes of the answer's body. */
  readonly at: "request" | "answer" | number
  /** What the client gets then. */
  readonly frames: (stream: number) => ReadonlyArray<Uint8Array>
  /** What becomes of the rest: it is lost, it is sent, or the connection ends. */
  readonly then: "lost" | "sent" | "end"
}

/** The body ends in order, and too early. */
const short = (at: number): Fault => ({
  at,
  frames: (stream) => [frame(typeData, endStream, stream, new Uint8Array(0))],
  then: "lost",
})

const reset = (code: number, at: Fault["at"]): Fault => ({
  at,
  frames: (stream) => [frame(typeReset, 0, stream, numbers(code))],
  then: "lost",
})

/** The server goes away; streams after `last` have not been looked at. */
const goAway = (code: number, at: Fault["at"], then: Fault["then"], last: (stream: number) => number): Fault => ({
  at,
  frames: (stream) => [frame(typeGoAway, 0, 0, numbers(last(stream), code))],
  then,
})

const thisOne = (stream: number): number => stream
const earlierOnes = (stream: number): number => Math.max(0, stream - 2)

/** The way from the service to one client: what goes through it, and what strikes its streams. */
const makeGate = (client: Socket) => {
  const faults = new Map<number, Fault>()
  const passed = new Map<number, number>()
  const over = new Set<number>()
  let held: Uint8Array = new Uint8Array(0)
  const strike = (stream: number, { frames, then }: Fault): void => {
    faults.delete(stream)
    if (then === "lost") over.add(stream)
    for (const one of frames(stream)) client.write(one)
    if (then === "end") client.end()
  }
  const pass = (whole: Uint8Array, type: number, stream: number): void => {
    const fault = faults.get(stream)
    if (over.has(stream) || client.writableEnded) return
    if (type === typeHeaders && fault?.at === "answer") return strike(stream, fault)
    if (type !== typeData || typeof fault?.at !== "number") return void client.write(whole)
    const before = passed.get(stream) ?? 0
    const rest = fault.at - before
    passed.set(stream, before + whole.length - 9)
    if (whole.length - 9 <= rest) return void client.write(whole)
    if (fault.then !== "sent") {
      if (rest > 0) client.write(frame(typeData, 0, stream, whole.subarray(9, 9 + rest)))
      return strike(stream, fault)
    }
    strike(stream, fault)
    client.write(whole)
  }
  return {
    /** Bytes of the service for the client. */
    push: (chunk: Uint8Array): void => {
      held = Buffer.concat([held, chunk])
      while (held.length >= 9) {
        const view = new DataView(held.buffer, held.byteOffset)
        const length = 9 + (view.getUint32(0) >>> 8)
        if (held.length < length) return
        const whole = held.subarray(0, length)
        held = held.subarray(length)
        pass(whole, whole[3]!, view.getUint32(5) & 0x7fffffff)
      }
    },
    /** Decides what becomes of a stream. */
    spoil: (stream: number, fault: Fault): void => {
      if (fault.at === "request") strike(stream, fault)
      else faults.set(stream, fault)
    },
  }
}

/** Gives a request to the peer and the peer's answer to the stream. */
const answer = async (peer: S3Peer, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  const plain = Object.entries(headers).filter(([name]) => !name.startsWith(":"))
  const { status, headers: answered, body } = await peer.handle({
    method: String(headers[":method"]),
    target: String(headers[":path"]),
    headers: [["host", String(headers[":authority"])], ...plain.map(([name, value]) => [name, String(value)] as const)],
    body: () => Promise.resolve(Buffer.concat(chunks)),
  })
  if (stream.destroyed) return
  const length = headers[":method"] === "HEAD" ? {} : { "content-length": String(body.length) }
  stream.respond({ ":status": status, ...length, ...answered })
  stream.end(body)
}

/** A request as it reaches the server, what the runtime repeats by itself included. */
interface Arrival {
  readonly method: string
  readonly path: string
}

interface Front extends AsyncDisposable {
  readonly url: string
  readonly arrivals: ReadonlyArray<Arrival>
  /** From now on: what becomes of a request, the first one being 1. */
  readonly script: (fault: (arrival: Arrival, nth: number) => Fault | undefined) => void
}

const listening = async (server: NetServer): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as AddressInfo).port
}

/** Serves the peer by HTTP/2 and by nothing else. */
const serve = async (peer: S3Peer): Promise<Front> => {
  const gates = new Map<number | undefined, ReturnType<typeof makeGate>>()
  const sockets = new Set<Socket>()
  const arrivals: Array<Arrival> = []
  let decide: Parameters<Front["script"]>[0] = () => undefined
  let nth = 0
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on("error", () => {}).on("close", () => sockets.delete(socket))
  }

  const service = createHttp2Server()
  service.on("session", (session) => session.on("error", () => {}))
  service.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {})
    const arrival = { method: String(headers[":method"]), path: String(headers[":path"]) }
    arrivals.push(arrival)
    const fault = decide(arrival, ++nth)
    if (fault !== undefined) gates.get(stream.session?.socket.remotePort)!.spoil(stream.id!, fault)
    if (fault?.at === "request") stream.resume()
    else answer(peer, stream, headers).catch(() => stream.close(internalError))
  })
  const inner = await listening(service)

  const front = createTlsServer({ cert: certificate, key: privateKey, ALPNProtocols: ["h2"] }, (client) => {
    const gate = makeGate(keep(client))
    const upstream = keep(connect(inner, "127.0.0.1", () => {
      gates.set(upstream.localPort, gate)
      client.pipe(upstream)
    }))
    upstream.on("data", gate.push)
    upstream.on("close", () => client.destroy())
    client.on("close", () => upstream.destroy())
  })
  const port = await listening(front)

  return {
    url: `https://127.0.0.1:${port}`,
    arrivals,
    script: (next) => {
      decide = next
      nth = 0
    },
    [Symbol.asyncDispose]: async () => {
      const closed = [front, service].map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
      for (const socket of sockets) socket.destroy()
      await Promise.all(closed)
    },
  }
}

/** What is used of Deno. */
interface DenoClients {
  readonly createHttpClient: (options: { readonly caCerts: ReadonlyArray<string> }) => { readonly close: () => void }
}

/** The runtime's `fetch`, as a user makes it speak HTTP/2 to a service of his own. */
const openFetch = (): { readonly fetch: (url: string, init: RequestInit) => Promise<Response> } & Disposable => {
  if (process.versions["deno"] === undefined) {
    return {
      fetch: (url, init) => fetch(url, { ...init, protocol: "http2", tls: { ca: certificate } }),
      [Symbol.dispose]: () => {},
    }
  }
  const client = (Reflect.get(globalThis, "Deno") as DenoClients).createHttpClient({ caCerts: [certificate] })
  return {
    fetch: (url, init) => fetch(url, Object.assign({ ...init }, { client })),
    [Symbol.dispose]: () => client.close(),
  }
}

const data = bytes(7, 300_000)

/** A store on a peer behind HTTP/2, with one object `k` in it. */
const overHttp2 = async (use: (bench: Bench & { readonly front: Front }) => Promise<void>): Promise<void> => {
  const inside = await Effect.runPromise(open())
  await Effect.runPromise(inside.store.save("k", data))
  await using front = await serve(inside.peer)
  using runtime = openFetch()
  const { backend, store } = await Effect.runPromise(open({ endpoint: front.url, fetch: runtime.fetch }))
  await use({ peer: inside.peer, backend, store, front })
}

test("an object goes to and fro by HTTP/2", () =>
  overHttp2(async ({ peer, store, front }) => {
    await Effect.runPromise(store.save("other", data))
    expectBytes(peer.object("test", "other")!.bytes, data, "what is stored")
    const loaded = await Effect.runPromise(store.load("k"))
    expectBytes(await loaded.bytes(), data, "what is loaded")
    expect(front.arrivals.map(({ method }) => method)).toEqual(["PUT", "GET"])
  }))

/** Near the end, so that what is lost takes little of the window that the connection has for all streams. */
const near = 290_000

const goesAway = goAway(internalError, near, "end", thisOne)

const cuts: ReadonlyArray<readonly [name: string, fault: Fault]> = [
  ["a body that ends before its length", short(near)],
  ["a body that is reset", reset(internalError, near)],
  // Deno's fetch ends this one, and the last one, as if it were whole.
  ["a body that is reset as if nothing were wrong", reset(noError, near)],
  ["a body of a server that goes away", goesAway],
  ["a body of a server that goes away and resets it as if nothing were wrong", {
    ...goesAway,
    frames: (stream) => [...goesAway.frames(stream), ...reset(noError, near).frames(stream)],
  }],
]

for (const [name, fault] of cuts) {
  test(`fault 22: ${name} is asked for again from the byte where it stopped`, () =>
    overHttp2(async ({ peer, store, front }) => {
      front.script((_, nth) => nth === 1 ? fault : undefined)
      const loaded = await Effect.runPromise(store.load("k"))
      expectBytes(await loaded.bytes(), data, "the object")
      const gets = peer.requests.filter(({ operation }) => operation === "GetObject")
      const ranges = gets.map(({ headers }) => Object.fromEntries(headers)["range"])
      expect(ranges.length).toBe(2)
      const from = /^bytes=(\d+)-299999$/.exec(ranges[1] ?? "bytes=0-299999")
      expect(Number(from?.[1])).toBeLessThanOrEqual(near)
    }))

  test(`fault 22: ${name} is an error of the backend itself, never a short end`, () =>
    overHttp2(async ({ backend, front }) => {
      front.script(() => fault)
      const { body } = await Effect.runPromise(backend.get("k"))
      const error = await collect(body).then(() => "a quiet end", (thrown: unknown) => thrown)
      if (!StoreError.is(error)) throw new Error(`got ${error}`)
      expect(["Truncated", "Unavailable"]).toContain(error.reason)
      expect(error.transient).toBe(true)
    }))
}

test("fault 22: a server that goes away in order ends what it has begun, and is reached by another connection", () =>
  overHttp2(async ({ peer, store, front }) => {
    front.script((_, nth) => nth === 1 ? goAway(noError, near, "sent", thisOne) : undefined)
    for (let round = 0; round < 2; round++) {
      const loaded = await Effect.runPromise(store.load("k"))
      expectBytes(await loaded.bytes(), data, "the object")
    }
    expect(peer.count("GetObject")).toBe(2)
  }))

/** What the service was asked about a key. */
const about = ({ requests }: S3Peer, name: string): ReadonlyArray<string | undefined> =>
  requests.filter(({ key }) => key === name).map(({ operation }) => operation)

/** So often that no runtime hides it by asking again itself. */
const often = 8

test("fault 22: REFUSED_STREAM says that nothing has happened, also to a PUT", () =>
  overHttp2(async ({ peer, backend, front }) => {
    front.script(() => reset(refusedStream, "request"))
    const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
      backend.stat("k"),
      backend.put("new", data, putOptions(data)),
      backend.remove("k"),
      backend.createUpload("new", { writeId: "w" }),
    ]
    for (const call of calls) {
      const error = await Effect.runPromise(expectReason(call, "Unavailable"))
      expect(error.message).toContain("did not look at the request")
      expect([error.transient, error.ambiguous]).toEqual([true, false])
    }
    expect(front.arrivals.length).toBeGreaterThanOrEqual(calls.length)
    expect([about(peer, "new"), peer.openUploads()]).toEqual([[], []])
    expectBytes(peer.object("test", "k")!.bytes, data, "what was there")
  }))

test("fault 22: a refusal is known by the words of each runtime, and no other reset is one", () => {
  const put = { operation: "put", key: "k", mutates: true }
  const words = {
    bun: new TypeError('HTTP2RefusedStream fetching "https://host/k"'),
    deno: new TypeError("fetch failed", {
      cause: new Error("stream error received: refused stream before processing any application logic"),
    }),
    node: new TypeError("fetch failed", {
      cause: new Error("Stream closed with error code NGHTTP2_REFUSED_STREAM"),
    }),
  }
  for (const error of Object.values(words)) expect(noAnswer(put, error).ambiguous).toBe(false)
  const others = ["HTTP2StreamReset", "HTTP2GoAway", "stream error received: unexpected internal error encountered"]
  for (const message of others) expect(noAnswer(put, new TypeError(message)).ambiguous).toBe(true)
})

test("fault 22: a refused write is tried again and done once, without a look at what might have become of it", () =>
  overHttp2(async ({ peer, store, front }) => {
    front.script((_, nth) => nth <= often ? reset(refusedStream, "request") : undefined)
    await Effect.runPromise(store.save("new", data, { ifNoneMatch: "*" }))
    expectBytes(peer.object("test", "new")!.bytes, data, "what is stored")
    expect(about(peer, "new")).toEqual(["PutObject"])
    expect(front.arrivals.length).toBe(often + 1)
  }))

test("fault 22: a write that is refused for good has not happened, and nobody looks for it", () =>
  overHttp2(async ({ peer, store, front }) => {
    front.script(({ method }) => method === "PUT" ? reset(refusedStream, "request") : undefined)
    const error = await Effect.runPromise(expectReason(store.save("new", data, { ifNoneMatch: "*" }), "Unavailable"))
    expect(error.ambiguous).toBe(false)
    expect(about(peer, "new")).toEqual([])
  }))

test("fault 22: parts that are refused, and an upload that is, are sent again and leave nothing behind", () =>
  overHttp2(async ({ peer, store, front }) => {
    const refused = new Map<string, number>()
    front.script(({ method, path }) => {
      const times = (refused.get(method + path) ?? 0) + 1
      refused.set(method + path, times)
      return times <= often ? reset(refusedStream, "request") : undefined
    })
    await Effect.runPromise(store.save("parts", data, { partSize: 100_000 }))
    expectBytes(peer.object("test", "parts")!.bytes, data, "what is stored")
    const counts = (["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] as const).map(peer.count)
    expect([counts, peer.openUploads()]).toEqual([[1, 3, 1], []])
  }))

test("fault 22: a server that goes away before it has seen a write gets it by another connection", () =>
  overHttp2(async ({ peer, store, front }) => {
    front.script((_, nth) => nth === 1 ? goAway(noError, "request", "end", earlierOnes) : undefined)
    await Effect.runPromise(store.save("new", data, { ifNoneMatch: "*" }))
    expectBytes(peer.object("test", "new")!.bytes, data, "what is stored")
    expect(about(peer, "new").filter((operation) => operation === "PutObject").length).toBe(1)
  }))

test("fault 22: a write that is done when the server goes away is found to be ours, not another's", () =>
  overHttp2(async ({ peer, store, front }) => {
    front.script((_, nth) => nth === 1 ? goAway(internalError, "answer", "end", thisOne) : undefined)
    const info = await Effect.runPromise(store.save("new", data, { ifNoneMatch: "*" }))
    expectBytes(peer.object("test", "new")!.bytes, data, "what is stored")
    expect(info.writeId).toBe(peer.object("test", "new")!.metadata["holdfast-write-id"])
    const error = await Effect.runPromise(expectReason(store.save("new", data, { ifNoneMatch: "*" }), "AlreadyExists"))
    expect(error.ambiguous).toBe(false)
  }))
