/** The server of `node:http`, which Node uses and Bun and Deno have too; and how servers end. */
import { expect, test } from "bun:test"
import { raw, Wire } from "../../http/testing.ts"
import { type Answer, listen, type Listening, listenOnNode, stop } from "./listen.ts"

const address = { hostname: "127.0.0.1", port: 0 }

const using = async (answer: Answer, use: (server: Listening, url: string) => Promise<void>): Promise<void> => {
  const server = await listenOnNode(address, answer)
  try {
    await use(server, `http://127.0.0.1:${server.port}`)
  } finally {
    await server.kill()
    await server.drain(() => Promise.resolve())
  }
}

test("requests and answers pass with their headers and bodies", async () => {
  const echo: Answer = async (request, client) =>
    new Response(await request.arrayBuffer(), {
      status: 201,
      headers: {
        "x-was": `${request.method} ${new URL(request.url).pathname} ${request.headers.get("x-given")} ${client}`,
        etag: '"1"',
      },
    })
  await using(echo, async (_, url) => {
    const body = crypto.getRandomValues(new Uint8Array(60_000))
    const response = await fetch(`${url}/a%2Fb`, { method: "PUT", body, headers: { "x-given": "1" } })
    expect([response.status, response.headers.get("etag")]).toEqual([201, '"1"'])
    expect(response.headers.get("x-was")).toMatch(/^PUT \/a%2Fb 1 (::ffff:)?127\.0\.0\.1$/)
    expect(await response.bytes()).toEqual(body)
    expect((await fetch(`${url}/`, { method: "HEAD" })).status).toBe(201)
  })
})

test("fault 152: a body that breaks breaks the connection", async () => {
  const arrived = Promise.withResolvers<void>()
  let pulls = 0
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      if (++pulls === 1) return controller.enqueue(new TextEncoder().encode("hello"))
      await arrived.promise
      throw new Error("the store is gone")
    },
  }, { highWaterMark: 0 })
  await using(() => Promise.resolve(new Response(body)), async ({ port }) => {
    using wire = new Wire(port)
    wire.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await wire.until((text) => text.includes("hello"))
    arrived.resolve()
    expect(await wire.end()).not.toContain("\r\n0\r\n\r\n")
  })
})

test("fault 151: a client that leaves cancels the body and aborts the request", async () => {
  const [cancelled, aborted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const endless: Answer = (request) => {
    request.signal.addEventListener("abort", () => aborted.resolve())
    return Promise.resolve(
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
          cancel: () => cancelled.resolve(),
        }, { highWaterMark: 0 }),
      ),
    )
  }
  await using(endless, async ({ port }) => {
    const wire = new Wire(port)
    wire.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await wire.until((text) => text.length > 100_000)
    wire.reset()
    await Promise.all([cancelled.promise, aborted.promise])
  })
})

test("fault 147: a body that is refused is answered, and the connection ends", async () => {
  const refuse: Answer = async (request) => {
    await request.body!.cancel()
    return new Response("too large", { status: 413 })
  }
  await using(refuse, async ({ port }) => {
    using wire = new Wire(port)
    wire.write("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nsome")
    const text = await wire.end()
    expect(text).toMatch(/^HTTP\/1.1 413 /)
    expect(text).toContain("too large")
  })
})

test("fault 143: a request without a path or with a host that is none is 400", async () => {
  await using(() => Promise.resolve(new Response("asked")), async ({ port }) => {
    for (const head of ["GET http://other/ HTTP/1.1\r\nhost: x", "GET / HTTP/1.1\r\nhost: a b"]) {
      const { status, text } = await raw(port, `${head}\r\nconnection: close\r\n\r\n`)
      expect([status, text.includes("asked")]).toEqual([400, false])
    }
  })
})

for (const [name, start] of [["the runtime's server", listen], ["the server of node:http", listenOnNode]] as const) {
  test(`${name} ends when the requests on hand have been answered, idle connections or not`, async () => {
    const going = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const slow: Answer = async (request) => {
      if (new URL(request.url).pathname === "/idle") return new Response("idle")
      begun.resolve()
      await going.promise
      return new Response("done")
    }
    const server = await start(address, slow)
    using idle = new Wire(server.port)
    idle.write("GET /idle HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await idle.until((text) => text.includes("idle"))
    const answer = fetch(`http://127.0.0.1:${server.port}/slow`)
    await begun.promise
    let stopped = false
    const hand = Promise.withResolvers<void>()
    const stopping = stop(server, 60_000, () => hand.promise).then(() => stopped = true)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(stopped).toBe(false)
    going.resolve()
    expect(await (await answer).text()).toBe("done")
    hand.resolve()
    await stopping
    await idle.end()
  })
}
