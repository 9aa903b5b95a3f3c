/**
 * Carries requests to the peer without a socket: a `fetch` for tests that need neither a port nor a network.
 *
 * @module
 */
import type { PeerRequest, PeerResponse } from "./message.ts"

/**
 * Like the platform's `fetch`, but that nothing leaves the process. A lost or broken answer is a `TypeError`, as it
 * is there. What differs: a reset and an orderly end look the same, `content-encoding` is not decoded, bytes that are
 * no HTTP are a `TypeError`, and a redirect is only ever returned (`redirect: "manual"`), never followed.
 */
export type PeerFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** Most bytes of a body that come at once. */
const chunkSize = 64 * 1024

const broken = (): TypeError => new TypeError("fetch failed: the peer closed the connection")

/** Rejects when the signal is aborted; never resolves. */
const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  })

const bodyOf = ({ body, delivery, framing }: PeerResponse, signal: AbortSignal): ReadableStream<Uint8Array> => {
  const end = delivery.kind === "cut" || delivery.kind === "stall" ? Math.min(delivery.at, body.length) : body.length
  const whole = end === body.length && framing !== "openChunks" && framing !== "tornChunks"
  let at = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  return new ReadableStream<Uint8Array>({
    start: (controller) => {
      signal.addEventListener("abort", () => {
        clearTimeout(timer)
        controller.error(signal.reason)
      }, { once: true })
    },
    pull: async (controller) => {
      if (delivery.kind === "drip" && at > 0) {
        await new Promise<void>((resolve) => {
          timer = setTimeout(resolve, delivery.millis)
        })
      }
      if (at < end) {
        // Copied, because what is stored must not change when a reader changes what it got.
        const chunk = body.slice(at, Math.min(end, at + (delivery.kind === "drip" ? delivery.bytes : chunkSize)))
        at += chunk.length
        controller.enqueue(chunk)
      } else if (delivery.kind === "stall") await new Promise<never>(() => {})
      else if (whole) controller.close()
      else controller.error(broken())
    },
    cancel: () => clearTimeout(timer),
  }, { highWaterMark: 0 })
}

/** A `fetch` that `handle` answers. */
export const serveFetch =
  (handle: (request: PeerRequest) => Promise<PeerResponse>): PeerFetch => async (input, init) => {
    const request = new Request(input, init)
    const { signal } = request
    signal.throwIfAborted()
    const url = new URL(request.url)
    const bytes = new Uint8Array(await request.arrayBuffer())
    const headers = [...request.headers].filter(([name]) => name !== "host" && name !== "content-length")
    const sized = bytes.length > 0 || request.method === "PUT" || request.method === "POST"
    const response = await Promise.race([
      aborted(signal),
      handle({
        method: request.method,
        target: url.pathname + url.search,
        headers: [
          ["host", url.host],
          ...headers,
          ...(sized ? [["content-length", String(bytes.length)] as const] : []),
        ],
        body: () => Promise.resolve(bytes),
        signal,
      }),
    ])
    const { status, delivery, framing } = response
    if (delivery.kind === "nothing" || delivery.kind === "raw") throw broken()
    const redirects = status >= 301 && status <= 308 && status !== 304 && response.headers["location"] !== undefined
    if (redirects && request.redirect !== "manual") {
      throw new TypeError("fetch failed: the peer's fetch follows no redirect")
    }
    const bodiless = request.method === "HEAD" || status === 204 || status === 304
    const length: Record<string, string> = framing === "length" && !bodiless
      ? { "content-length": String(response.body.length) }
      : {}
    return new Response(bodiless ? null : bodyOf(response, signal), {
      status,
      headers: { ...length, ...response.headers },
    })
  }
