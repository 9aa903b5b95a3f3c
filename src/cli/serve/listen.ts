/**
 * A listening socket on Bun, Deno or Node, and its graceful end.
 *
 * What the servers of the runtimes would limit by themselves is lifted where the routes count for themselves: the size
 * of a body (Bun: 128 MiB) and the time it may take (Node: 5 minutes).
 *
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http"

/** What answers a request. `env` is for Hono: Bun's server, whose timeouts the routes raise. */
export type Answer = (request: Request, client: string | undefined, env: object) => Promise<Response>

/** Where to listen. Port 0: any that is free. */
export interface Address {
  readonly hostname: string
  readonly port: number
}

/** A server that listens. */
export interface Listening {
  readonly port: number
  /**
   * Takes no further requests, and resolves when those on hand have been answered. `idle` resolves when no request is on
   * hand.
   */
  readonly drain: (idle: () => Promise<void>) => Promise<void>
  /** Ends all connections at once. */
  readonly kill: () => Promise<void>
}

interface BunServer {
  readonly port: number
  readonly stop: (force: boolean) => Promise<void>
  readonly requestIP: (request: Request) => { readonly address: string } | null
}

interface BunServe {
  (options: {
    readonly hostname: string
    readonly port: number
    readonly idleTimeout: number
    readonly maxRequestBodySize: number
    readonly fetch: (request: Request, server: BunServer) => Promise<Response>
  }): BunServer
}

interface DenoServe {
  (
    options: {
      readonly hostname: string
      readonly port: number
      readonly signal: AbortSignal
      readonly onListen: () => void
    },
    handler: (request: Request, info: { readonly remoteAddr: { readonly hostname?: string } }) => Promise<Response>,
  ): {
    readonly addr: { readonly port: number }
    readonly finished: Promise<void>
    readonly shutdown: () => Promise<void>
  }
}

/** What is used of the runtimes; each knows only its own names. */
const runtimes = globalThis as unknown as {
  readonly Bun?: { readonly serve: BunServe }
  readonly Deno?: { readonly serve: DenoServe }
}

/** Seconds that a connection may say nothing between requests. */
const idleSeconds = 75

/** Seconds for the head of a request, where the runtime can bound it. */
const headSeconds = 30

const listenOnBun = (serve: BunServe, { hostname, port }: Address, answer: Answer): Listening => {
  const server = serve({
    hostname,
    port,
    idleTimeout: idleSeconds,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    fetch: (request, server) => answer(request, server.requestIP(request)?.address, server),
  })
  return { port: server.port, drain: () => server.stop(false), kill: () => server.stop(true) }
}

const listenOnDeno = (serve: DenoServe, { hostname, port }: Address, answer: Answer): Listening => {
  const ending = new AbortController()
  let state: "open" | "draining" | "closed" = "open"
  const { addr, finished, shutdown } = serve(
    { hostname, port, signal: ending.signal, onListen: () => {} },
    async (request, { remoteAddr }) =>
      state === "open" ? await answer(request, remoteAddr.hostname, {}) : new Response(null, {
        status: 503,
        headers: { connection: "close", "retry-after": "1" },
      }),
  )
  return {
    port: addr.port,
    drain: async (idle) => {
      state = "draining"
      // A shutdown takes the bodies of requests on hand away (deno#36809).
      await idle()
      state = "closed"
      await shutdown()
    },
    kill: async () => {
      // A shutdown that has begun cannot be hastened: Deno throws. What is left ends with the process.
      if (state === "closed") return
      state = "closed"
      ending.abort()
      await finished
    },
  }
}

/** The body of a request, read when it is asked for. What is cancelled is left in the socket, which then ends. */
const incomingBody = (incoming: IncomingMessage, cancelled: () => void): ReadableStream<Uint8Array> => {
  const chunks = incoming[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: cancelled,
  }, { highWaterMark: 0 })
}

/** Sends a body as fast as the client takes it. Rejects when either side breaks. */
const sendBody = async (body: ReadableStream<Uint8Array>, outgoing: ServerResponse): Promise<void> => {
  const reader = body.getReader()
  const closed = Promise.withResolvers<never>()
  closed.promise.catch(() => undefined)
  outgoing.once("close", () => closed.reject(new Error("the client has gone")))
  try {
    while (true) {
      const { done, value } = await Promise.race([reader.read(), closed.promise])
      if (done) break
      if (outgoing.write(value)) continue
      await Promise.race([new Promise<void>((resolve) => outgoing.once("drain", resolve)), closed.promise])
    }
    outgoing.end()
  } catch (error) {
    await reader.cancel(error).catch(() => undefined)
    throw error
  }
}

const answerOnNode = async (incoming: IncomingMessage, outgoing: ServerResponse, answer: Answer): Promise<void> => {
  const { method = "GET", url = "/", socket } = incoming
  const gone = new AbortController()
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  const headers = new Headers()
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!)
  }
  const body = method === "GET" || method === "HEAD" ? {} : {
    body: incomingBody(incoming, () => outgoing.shouldKeepAlive = false),
    duplex: "half",
  }
  const at = `http://${headers.get("host") ?? ""}${url}`
  if (!url.startsWith("/") || !URL.canParse(at)) {
    outgoing.writeHead(400, { connection: "close" }).end()
    return
  }
  const response = await answer(
    new Request(at, { method, headers, signal: gone.signal, ...body }),
    socket.remoteAddress,
    {},
  )
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  if (response.body === null) outgoing.end()
  else await sendBody(response.body, outgoing)
}

/** A server of `node:http`, which Bun and Deno have too. */
export const listenOnNode = async ({ hostname, port }: Address, answer: Answer): Promise<Listening> => {
  const { createServer } = await import("node:http")
  const limits = { requestTimeout: 0, headersTimeout: headSeconds * 1000, keepAliveTimeout: idleSeconds * 1000 }
  const server: Server = createServer(limits, (incoming, outgoing) => {
    // What breaks after the first byte can only be told by breaking the connection.
    answerOnNode(incoming, outgoing, answer).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, hostname, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    drain: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
    kill: () => {
      server.closeAllConnections()
      return Promise.resolve()
    },
  }
}

/** Listens with the runtime's own server. Rejects where the address cannot be had. */
export const listen = async (address: Address, answer: Answer): Promise<Listening> => {
  if (runtimes.Bun !== undefined) return listenOnBun(runtimes.Bun.serve, address, answer)
  if (runtimes.Deno !== undefined) return listenOnDeno(runtimes.Deno.serve, address, answer)
  return await listenOnNode(address, answer)
}

/** Time for the last bytes of the last answer to leave the process, in milliseconds. */
const lastBytes = 500

/**
 * Ends a server: no further connections, then up to `grace` milliseconds for the requests on hand, then the rest is
 * cut off. `idle` resolves when no request is on hand; connections on which nothing is asked keep nobody waiting.
 */
export const stop = async (server: Listening, grace: number, idle: () => Promise<void>): Promise<void> => {
  const timers = new AbortController()
  const after = (ms: number): Promise<false> =>
    new Promise((resolve) => {
      if (timers.signal.aborted) return resolve(false)
      const timer = setTimeout(resolve, ms, false)
      timers.signal.addEventListener("abort", () => clearTimeout(timer))
    })
  const drained = server.drain(idle).then(() => true, () => true)
  const done = await Promise.race([drained, after(grace), idle().then(() => Promise.race([drained, after(lastBytes)]))])
  timers.abort()
  if (!done) await server.kill()
}
