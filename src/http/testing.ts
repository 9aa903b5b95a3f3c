/**
 * What the tests of this folder share: a server of the runtime at hand, and requests byte for byte.
 *
 * @module
 */
import { connect, type Socket } from "node:net"

/** What answers requests. */
export type Handler = (request: Request, env?: object) => Response | Promise<Response>

/** A server on the loopback. */
export interface Listening extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Ends it at once, with the connections it has. */
  readonly stop: () => Promise<void>
}

interface DenoServe {
  (
    options: { readonly hostname: string; readonly port: number; readonly signal: AbortSignal; onListen: () => void },
    handler: (request: Request) => Response | Promise<Response>,
  ): { readonly addr: { readonly port: number }; readonly finished: Promise<void> }
}

interface BunServe {
  (
    options: {
      readonly hostname: string
      readonly port: number
      readonly idleTimeout: number
      readonly fetch: (request: Request, server: object) => Response | Promise<Response>
    },
  ): { readonly port: number; readonly stop: (force: boolean) => Promise<void> }
}

/** What is used of the runtimes; each knows only its own names. */
const runtimes = globalThis as unknown as {
  readonly Deno?: { readonly serve: DenoServe }
  readonly Bun?: { readonly serve: BunServe }
}

/** Listens on 127.0.0.1. `idleTimeout`: seconds after which Bun ends a connection on which nothing moves. */
export const listen = (handler: Handler, port = 0, idleTimeout = 10): Listening => {
  const listening = (port: number, stop: () => Promise<void>): Listening => ({
    port,
    url: `http://127.0.0.1:${port}`,
    stop,
    [Symbol.asyncDispose]: stop,
  })
  const hostname = "127.0.0.1"
  if (runtimes.Bun !== undefined) {
    const server = runtimes.Bun.serve({ hostname, port, idleTimeout, fetch: handler })
    return listening(server.port, () => server.stop(true))
  }
  if (runtimes.Deno === undefined) throw new Error("neither Bun nor Deno")
  const ending = new AbortController()
  const { addr, finished } = runtimes.Deno.serve(
    { hostname, port, signal: ending.signal, onListen: () => {} },
    (request) => handler(request),
  )
  return listening(addr.port, () => {
    ending.abort()
    return finished
  })
}

/** A connection on which requests are written by hand. */
export class Wire implements Disposable {
  readonly socket: Socket
  readonly #ended: Promise<void>
  #received = ""
  #wake: (() => void) | undefined

  constructor(port: number) {
    this.socket = connect({ host: "127.0.0.1", port })
    this.socket.setEncoding("latin1")
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = promise
    this.socket.on("data", (chunk) => {
      this.#received += chunk
      this.#wake?.()
    })
    this.socket.on("error", () => {})
    this.socket.on("close", () => {
      resolve()
      this.#wake?.()
    })
  }

  /** Writes text (one byte a character) or bytes. */
  write(data: string | Uint8Array): void {
    if (typeof data === "string") this.socket.write(data, "latin1")
    else this.socket.write(data)
  }

  /** What has come so far, one character a byte. */
  get text(): string {
    return this.#received
  }

  /** Waits until what has come fits. */
  async until(fits: (text: string) => boolean): Promise<string> {
    while (!fits(this.text)) {
      if (this.socket.destroyed) {
        throw new Error(`the connection ended after ${JSON.stringify(this.text.slice(0, 500))}`)
      }
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await promise
    }
    return this.text
  }

  /** Waits until the other side has ended the connection. */
  async end(): Promise<string> {
    await this.#ended
    return this.text
  }

  /** Ends it with a reset, as a client does that is gone. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

/** Sends one request on a connection of its own and waits for the end of the connection. */
export const raw = async (port: number, request: string | Uint8Array): Promise<{ status: number; text: string }> => {
  using wire = new Wire(port)
  wire.write(request)
  const text = await wire.end()
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text }
}
