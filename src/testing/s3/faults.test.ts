/** Every fault, seen by the runtime's own fetch over a socket and by the peer's fetch without one. */
import { expect, test } from "bun:test"
import { connect } from "node:net"
import { field, openPeer, see } from "./client-testing.ts"
import { makeS3Peer, type PeerFault, type PeerRule, type S3Peer } from "./mod.ts"

const text = "0123456789".repeat(20)

interface Way {
  readonly peer: S3Peer
  readonly url: string
  readonly fetch: (url: string, init?: RequestInit) => Promise<Response>
}

/** Runs the same case over a socket and in the process, with the object `k` stored. */
const bothWays = (name: string, rules: ReadonlyArray<PeerRule>, run: (way: Way) => Promise<void>): void => {
  const start = async (): Promise<S3Peer> => {
    const peer = makeS3Peer({ anonymous: true, seed: 1, minPartSize: 1 })
    await peer.fetch("http://127.0.0.1/test/k", { method: "PUT", body: text })
    peer.script(rules)
    return peer
  }
  test(`${name}, over a socket`, async () => {
    const peer = await start()
    await using server = await peer.listen()
    await run({ peer, url: `${server.url}/test`, fetch: (url, init) => fetch(url, { redirect: "manual", ...init }) })
  })
  test(`${name}, in the process`, async () => {
    const peer = await start()
    await run({
      peer,
      url: "http://127.0.0.1/test",
      fetch: (url, init) => peer.fetch(url, { redirect: "manual", ...init }),
    })
  })
}

/** A fault of the answers to GetObject. */
const onGet = (fault: PeerFault): ReadonlyArray<PeerRule> => [{ operation: "GetObject", fault }]

/** Reads until the body ends or breaks. */
const readOut = async (response: Response): Promise<{ readonly bytes: number; readonly broke: boolean }> => {
  let bytes = 0
  try {
    for await (const chunk of response.body!) bytes += chunk.length
    return { bytes, broke: false }
  } catch {
    return { bytes, broke: true }
  }
}

bothWays(
  "fault 12: an error of S3 with its code, message and headers",
  onGet({ kind: "error", status: 503, code: "SlowDown", message: "Reduce <rate>", headers: { "retry-after": "2" } }),
  async ({ url, fetch }) => {
    const seen = await see(await fetch(`${url}/k`))
    expect([seen.status, seen.code, seen.headers.get("retry-after")]).toEqual([503, "SlowDown", "2"])
    expect(field(seen.text, "Message")).toBe("Reduce &lt;rate&gt;")
    expect(seen.headers.get("content-type")).toBe("application/xml")
  },
)

bothWays(
  "fault 19: a redirect without a location, with the region to go to",
  onGet({
    kind: "error",
    status: 301,
    code: "PermanentRedirect",
    details: { Bucket: "test", Endpoint: "test.s3.eu-west-1.amazonaws.com" },
    headers: { "x-amz-bucket-region": "eu-west-1" },
  }),
  async ({ url, fetch }) => {
    const seen = await see(await fetch(`${url}/k`))
    expect([seen.status, seen.code, seen.headers.get("x-amz-bucket-region")])
      .toEqual([301, "PermanentRedirect", "eu-west-1"])
    expect(field(seen.text, "Endpoint")).toBe("test.s3.eu-west-1.amazonaws.com")
  },
)

bothWays(
  "fault 18: a redirect to somewhere else",
  onGet({ kind: "reply", status: 307, headers: { location: "http://127.0.0.1:9/elsewhere" } }),
  async ({ url, fetch }) => {
    const response = await fetch(`${url}/k`)
    await response.body?.cancel()
    expect([response.status, response.headers.get("location")]).toEqual([307, "http://127.0.0.1:9/elsewhere"])
  },
)

bothWays(
  "fault 15: the page of a proxy",
  onGet({ kind: "reply", status: 200, headers: { "content-type": "text/html" }, body: "<html>log in</html>" }),
  async ({ url, fetch }) => {
    const seen = await see(await fetch(`${url}/k`))
    expect([seen.status, seen.text, seen.headers.get("content-type")]).toEqual([
      200,
      "<html>log in</html>",
      "text/html",
    ])
  },
)

bothWays(
  "faults 24, 25: 200 with an error in it, behind white space, and nothing done",
  [
    { operation: "PutObject", fault: { kind: "errorBody", code: "InternalError" } },
    { operation: "PutObject", fault: { kind: "spaces", count: 3 } },
  ],
  async ({ peer, url, fetch }) => {
    const seen = await see(await fetch(`${url}/new`, { method: "PUT", body: "x" }))
    expect([seen.status, seen.code, seen.text.slice(0, 8)]).toEqual([200, "InternalError", "   <?xml"])
    expect(peer.object("test", "new")).toBeUndefined()
  },
)

for (const how of ["fin", "reset"] as const) {
  bothWays(`faults 1, 2: a body cut by ${how}`, onGet({ kind: "cut", at: 100, how }), async ({ url, fetch }) => {
    // A reset may come before the head has been read.
    const result = await fetch(`${url}/k`).then(readOut, () => ({ bytes: 0, broke: true }))
    expect(result.broke).toBe(true)
    expect(result.bytes).toBeLessThanOrEqual(100)
  })
}

bothWays("fault 6: a body that stalls", onGet({ kind: "stall", at: 100 }), async ({ url, fetch }) => {
  const response = await fetch(`${url}/k`)
  const reader = response.body!.getReader()
  let bytes = 0
  while (bytes < 100) bytes += (await reader.read()).value!.length
  expect(bytes).toBe(100)
  const next = reader.read().then(() => "more", () => "more")
  expect(await Promise.race([next, new Promise((resolve) => setTimeout(() => resolve("nothing"), 50))])).toBe("nothing")
  await reader.cancel()
})

bothWays("fault 8: a body that drips", onGet({ kind: "drip", bytes: 40, millis: 1 }), async ({ url, fetch }) => {
  expect((await see(await fetch(`${url}/k`))).text).toBe(text)
})

bothWays("fault 27: a lost reply", [{ fault: { kind: "drop", when: "after" } }], async ({ peer, url, fetch }) => {
  await expect(fetch(`${url}/new`, { method: "PUT", body: "x" })).rejects.toThrow()
  expect(peer.object("test", "new")?.etag).toBe("9dd4e461268c8034f5c8564e155c67a6")
})

for (const when of ["early", "before"] as const) {
  bothWays(
    `fault 10: a request dropped ${when}`,
    [{ operation: "PutObject", fault: { kind: "drop", when, how: "reset" } }],
    async ({ peer, url, fetch }) => {
      await expect(fetch(`${url}/new`, { method: "PUT", body: "x" })).rejects.toThrow()
      expect(peer.object("test", "new")).toBeUndefined()
    },
  )
}

bothWays(
  "an error although all was done",
  [{ operation: "PutObject", fault: { kind: "error", status: 500, code: "InternalError", when: "after" } }],
  async ({ peer, url, fetch }) => {
    expect((await see(await fetch(`${url}/new`, { method: "PUT", body: "x" }))).code).toBe("InternalError")
    expect(peer.object("test", "new")).toBeDefined()
  },
)

bothWays("fault 7: an answer that waits for the test", [], async ({ peer, url, fetch }) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  peer.script([{ operation: "PutObject", fault: { kind: "hold", until: promise } }])
  const pending = fetch(`${url}/new`, { method: "PUT", body: "x" }).then(see)
  while (peer.requests.at(-1)?.faults[0] !== "hold") await new Promise((resolve) => setTimeout(resolve, 1))
  expect(peer.object("test", "new")).toBeUndefined()
  resolve()
  expect((await pending).status).toBe(200)
  expect(peer.object("test", "new")).toBeDefined()
})

bothWays("an answer that never comes", onGet({ kind: "hold" }), async ({ url, fetch }) => {
  const controller = new AbortController()
  const pending = fetch(`${url}/k`, { signal: controller.signal })
  setTimeout(() => controller.abort(), 20)
  await expect(pending).rejects.toMatchObject({ name: "AbortError" })
})

bothWays("a delay", onGet({ kind: "delay", millis: 5 }), async ({ url, fetch }) => {
  expect((await see(await fetch(`${url}/k`))).text).toBe(text)
})

bothWays("fault 106: a flipped bit", onGet({ kind: "flip", at: 1 }), async ({ peer, url, fetch }) => {
  const seen = await see(await fetch(`${url}/k`))
  expect(seen.text).toBe(`00${text.slice(2)}`)
  expect(peer.object("test", "k")?.bytes[1]).toBe(49)
})

bothWays(
  "fault 42: a list that ends in the middle",
  [{ fault: { kind: "truncate", at: 120 } }],
  async ({ url, fetch }) => {
    const seen = await see(await fetch(`${url}?list-type=2`))
    expect([seen.status, seen.text.length, seen.text.includes("</ListBucketResult>")]).toEqual([200, 120, false])
  },
)

bothWays(
  "faults 21, 110: other headers, and missing ones",
  onGet({ kind: "headers", set: { etag: 'W/"x"', "content-range": "bytes 5-9/200", "last-modified": undefined } }),
  async ({ url, fetch }) => {
    const { headers } = await see(await fetch(`${url}/k`, { headers: { range: "bytes=0-4" } }))
    expect([headers.get("etag"), headers.get("content-range"), headers.get("last-modified")])
      .toEqual(['W/"x"', "bytes 5-9/200", null])
  },
)

bothWays("fault 110: a range that is ignored", onGet({ kind: "ignoreRange" }), async ({ url, fetch }) => {
  const seen = await see(await fetch(`${url}/k`, { headers: { range: "bytes=5-9" } }))
  expect([seen.status, seen.text.length, seen.headers.get("content-range")]).toEqual([200, 200, null])
})

bothWays(
  "whatever else",
  onGet({ kind: "rewrite", reply: (reply) => ({ ...reply, status: 203 }) }),
  async ({ url, fetch }) => {
    expect((await see(await fetch(`${url}/k`))).status).toBe(203)
  },
)

bothWays("fault 16: what is no HTTP", onGet({ kind: "raw", bytes: "SSH-2.0-peer\r\n" }), async ({ url, fetch }) => {
  await expect(fetch(`${url}/k`)).rejects.toThrow()
})

bothWays("a body in chunks", onGet({ kind: "framing", framing: "chunked" }), async ({ url, fetch }) => {
  const seen = await see(await fetch(`${url}/k`))
  expect([seen.text, seen.headers.get("content-length")]).toEqual([text, null])
})

bothWays(
  "fault 5: a body that ends with the connection",
  onGet({ kind: "framing", framing: "close" }),
  async ({ url, fetch }) => {
    const seen = await see(await fetch(`${url}/k`))
    expect([seen.text, seen.headers.get("content-length")]).toEqual([text, null])
  },
)

bothWays(
  "fault 3: chunks without a last one",
  onGet({ kind: "framing", framing: "openChunks" }),
  async ({ url, fetch }) => {
    expect((await readOut(await fetch(`${url}/k`))).broke).toBe(true)
  },
)

bothWays("fault 3: a chunk cut in its middle", [
  ...onGet({ kind: "framing", framing: "chunked" }),
  ...onGet({ kind: "cut", at: 50 }),
], async ({ url, fetch }) => {
  const result = await readOut(await fetch(`${url}/k`))
  expect([result.broke, result.bytes <= 50]).toEqual([true, true])
})

/** What a server sends for one request, until it closes the connection. */
const wire = (port: number, request: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(request))
    let received = ""
    socket.on("data", (chunk) => received += chunk.toString("latin1"))
    socket.on("error", reject)
    socket.on("close", () => resolve(received))
  })

const get = "GET /test/k HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"

test("faults 4, 16, 20: what stands on the wire is what the script says", async () => {
  const { peer, ask } = openPeer()
  await ask("PUT k", { body: "hello" })
  await using server = await peer.listen()
  expect(await wire(server.port, get)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*content-length: 5\r\n\r\nhello$/)
  peer.script([{ fault: { kind: "framing", framing: "tornChunks" } }])
  expect(await wire(server.port, get)).toMatch(/transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n$/)
  peer.script([{ fault: { kind: "cut", at: 2 } }])
  expect(await wire(server.port, get)).toMatch(/content-length: 5\r\n\r\nhe$/)
  peer.script([{
    fault: { kind: "raw", bytes: "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx" },
  }])
  expect(await wire(server.port, get)).toBe("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx")
  peer.script([{ fault: { kind: "gzip" } }])
  const packed = await wire(server.port, get)
  expect(packed).toMatch(/content-encoding: gzip\r\n/)
  const bytes = Uint8Array.from(packed.slice(packed.indexOf("\r\n\r\n") + 4), (char) => char.charCodeAt(0))
  const plain = new Response(bytes).body!.pipeThrough(new DecompressionStream("gzip"))
  expect(await new Response(plain).text()).toBe("hello")
  peer.script([{ fault: { kind: "drop", when: "early" } }])
  expect(await wire(server.port, get)).toBe("")
})

test("fault 2: a reset is a reset", async () => {
  const { peer, ask } = openPeer()
  await ask("PUT k", { body: "hello" })
  await using server = await peer.listen()
  for (const fault of [{ kind: "drop", how: "reset" }, { kind: "cut", at: 2, how: "reset" }] as const) {
    peer.script([{ fault }])
    await expect(wire(server.port, get)).rejects.toMatchObject({ code: "ECONNRESET" })
  }
})

test("what a reader does to the bytes it got does not reach the object", async () => {
  const { peer, ask } = openPeer()
  await ask("PUT k", { body: "hello" })
  const reader = (await peer.fetch("http://127.0.0.1/test/k")).body!.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) next.value.fill(0)
  expect((await ask("GET k")).text).toBe("hello")
})

test("fault 11: an early answer comes before the body has been read, and ends the connection", async () => {
  const { peer } = openPeer({
    rules: [{ fault: { kind: "error", status: 503, code: "SlowDown", when: "early" } }],
  })
  await using server = await peer.listen()
  const answer = await wire(server.port, "PUT /test/k HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nonly this")
  expect(answer).toMatch(/^HTTP\/1\.1 503 Error\r\n[^]*<Code>SlowDown<\/Code>/)
  expect(peer.requests[0]?.bodyLength).toBe(0)
})

test("rules count the requests they select", async () => {
  const { peer, ask } = openPeer()
  const error = (code: string): PeerFault => ({ kind: "error", status: 500, code })
  peer.script([
    { operation: "PutObject", key: "a", nth: [2, 3], fault: error("Nth") },
    { operation: ["GetObject", "HeadObject"], key: (key) => key === "b", times: 1, fault: error("Once") },
  ])
  const codes = async (line: string, count: number) => {
    const seen = []
    for (let i = 0; i < count; i++) seen.push((await ask(line, line.startsWith("PUT") ? { body: "x" } : {})).code)
    return seen
  }
  expect(await codes("PUT other", 2)).toEqual(["", ""])
  expect(await codes("PUT a", 4)).toEqual(["", "Nth", "Nth", ""])
  expect(await codes("GET b", 2)).toEqual(["Once", "NoSuchKey"])
  expect(await codes("GET a", 1)).toEqual([""])
})

test("the same seed lets the same requests fail", async () => {
  const pattern = async (seed: number) => {
    const { ask } = openPeer({
      seed,
      rules: [{ probability: 0.3, fault: { kind: "error", status: 500, code: "Chance" } }],
    })
    const seen = []
    for (let i = 0; i < 200; i++) seen.push((await ask("GET k")).code === "Chance")
    return seen
  }
  const [first, again, other] = [await pattern(7), await pattern(7), await pattern(8)]
  expect(first).toEqual(again)
  expect(first).not.toEqual(other)
  const hits = first.filter(Boolean).length
  expect(hits).toBeGreaterThan(30)
  expect(hits).toBeLessThan(90)
})

test("what came is recorded: operation, key, sizes, status and faults", async () => {
  const { peer, ask } = openPeer()
  await ask("PUT a%2Bb", { body: "hello", headers: { "x-amz-meta-a": "1" } })
  peer.script([{ operation: "GetObject", fault: { kind: "flip", at: 0 } }])
  await ask("GET a%2Bb")
  await ask("PATCH a%2Bb")
  expect(peer.requests.map(({ headers: _, ...rest }) => rest)).toEqual([
    {
      ordinal: 1,
      method: "PUT",
      target: "/test/a%2Bb",
      operation: "PutObject",
      bucket: "test",
      key: "a+b",
      bodyLength: 5,
      status: 200,
      faults: [],
    },
    {
      ordinal: 2,
      method: "GET",
      target: "/test/a%2Bb",
      operation: "GetObject",
      bucket: "test",
      key: "a+b",
      bodyLength: 0,
      status: 200,
      faults: ["flip"],
    },
    {
      ordinal: 3,
      method: "PATCH",
      target: "/test/a%2Bb",
      operation: undefined,
      bucket: "test",
      key: "a+b",
      bodyLength: 0,
      status: 405,
      faults: [],
    },
  ])
  expect(peer.requests[0]?.headers).toContainEqual(["x-amz-meta-a", "1"])
  expect([peer.count(), peer.count("PutObject"), peer.count("HeadObject")]).toEqual([3, 1, 0])
})
