/**
 * Carries requests to the peer over TCP: HTTP/1.1 on `node:net`, written out here because the runtimes' own servers
 * normalise targets and cannot end an answer wrongly.
 *
 * @module
 */
import type { Socket } from "node:net"
import { joinBytes, type PeerClose, type PeerRequest, type PeerResponse } from "./message.ts"

/** A server on 127.0.0.1. */
export interface PeerServer extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string
  /** The port that was free. */
  readonly port: number
  /** How many sockets are open, were open at once at most, and came in all. */
  readonly connections: () => { readonly open: number; readonly most: number; readonly total: number }
  /** Ends all connections, requests under way included. */
  readonly close: () => Promise<void>
}

/** A head longer than this ends the connection. */
const maxHead = 64 * 1024

/** What may wait in memory before the socket is paused. */
const maxBacklog = 4 * 1024 * 1024

/** The client is gone, or sent what is no HTTP. */
class Gone extends Error {}

const encodeLatin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))

const decodeLatin1 = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** Hands out what a socket receives, in the pieces that are asked for. */
const makeReader = (socket: Socket) => {
  const chunks: Array<Uint8Array> = []
  let held = 0
  let ended = false
  let wake = (): void => {}
  socket.on("data", (chunk: Uint8Array) => {
    chunks.push(chunk)
    held += chunk.length
    if (held > maxBacklog) socket.pause()
    wake()
  })
  const end = (): void => {
    ended = true
    wake()
  }
  socket.on("end", end)
  socket.on("close", end)

  const more = async (): Promise<void> => {
    if (ended) throw new Gone()
    socket.resume()
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
  const takeFront = (most: number): Uint8Array => {
    const front = chunks[0]!
    const part = front.subarray(0, most)
    if (part.length === front.length) chunks.shift()
    else chunks[0] = front.subarray(part.length)
    held -= part.length
    return part
  }

  /** So many bytes. */
  const take = async (length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length)
    for (let filled = 0; filled < length;) {
      while (chunks.length === 0) await more()
      const part = takeFront(length - filled)
      bytes.set(part, filled)
      filled += part.length
    }
    return bytes
  }
  /** A line without its end; `undefined` when the connection ends before it begins. */
  const line = async (): Promise<string | undefined> => {
    let text = ""
    for (;;) {
      while (chunks.length === 0) {
        if (ended && text === "") return undefined
        await more()
      }
      const end = chunks[0]!.indexOf(10)
      text += decodeLatin1(takeFront(end < 0 ? chunks[0]!.length : end + 1))
      if (text.length > maxHead) throw new Gone()
      if (end >= 0) return text.replace(/\r?\n$/, "")
    }
  }
  return { take, line }
}

type Reader = ReturnType<typeof makeReader>

const readHeaders = async (reader: Reader): Promise<Array<[string, string]>> => {
  const headers: Array<[string, string]> = []
  for (let line = await reader.line(); line !== ""; line = await reader.line()) {
    const colon = line?.indexOf(":") ?? -1
    if (line === undefined || colon < 1 || headers.length > 200) throw new Gone()
    headers.push([line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()])
  }
  return headers
}

const readChunked = async (reader: Reader): Promise<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  for (;;) {
    const size = parseInt(await reader.line() ?? "", 16)
    if (Number.isNaN(size)) throw new Gone()
    if (size === 0) break
    parts.push(await reader.take(size))
    await reader.line()
  }
  await readHeaders(reader)
  return joinBytes(parts)
}

const write = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed || bytes.length === 0) resolve()
    else socket.write(bytes, () => resolve())
  })

const finish = (socket: Socket, how: PeerClose): void => {
  if (how === "reset") socket.resetAndDestroy()
  else {
    socket.end()
    // What the client still sends is read and dropped, or else the kernel would reset the connection.
    socket.resume()
  }
}

/** Whether an answer of this status to this method has a body at all. */
const hasBody = (method: string, status: number): boolean => method !== "HEAD" && status !== 204 && status !== 304

const inChunks = (framing: PeerResponse["framing"]): boolean => framing !== "length" && framing !== "close"

const headOf = (method: string, { status, headers, body, framing }: PeerResponse): Uint8Array => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  if (hasBody(method, status)) {
    if (framing === "length" && headers["content-length"] === undefined) lines.push(`content-length: ${body.length}`)
    if (inChunks(framing)) lines.push("transfer-encoding: chunked")
  }
  return encodeLatin1([`HTTP/1.1 ${status} ${status < 400 ? "OK" : "Error"}`, ...lines, "", ""].join("\r\n"))
}

/** The body as it stands on the wire, from `start`. */
const frame = (body: Uint8Array, framing: PeerResponse["framing"]): ReadonlyArray<Uint8Array> => {
  if (framing === "length" || framing === "close") return [body]
  const line = body.length === 0 ? [] : [encodeLatin1(`${body.length.toString(16)}\r\n`), body, encodeLatin1("\r\n")]
  const end = { chunked: "0\r\n\r\n", tornChunks: "0\r\n", openChunks: "" }[framing]
  return [...line, encodeLatin1(end)]
}

/** Sends an answer as far as it is to be sent. True: the connection can be used again. */
const deliver = async (
  socket: Socket,
  method: string,
  response: PeerResponse,
  signal: AbortSignal,
): Promise<boolean> => {
  const { delivery, framing, body, closes } = response
  const whole = hasBody(method, response.status) ? body : new Uint8Array(0)
  if (delivery.kind === "nothing") {
    finish(socket, delivery.how)
    return false
  }
  if (delivery.kind === "raw") {
    await write(socket, delivery.bytes)
    finish(socket, "fin")
    return false
  }
  await write(socket, headOf(method, response))
  switch (delivery.kind) {
    case "cut":
    case "stall":
      // The chunk that a cut body is in the middle of has been announced in full.
      if (inChunks(framing)) {
        await write(socket, encodeLatin1(`${whole.length.toString(16)}\r\n`))
      }
      await write(socket, whole.subarray(0, delivery.at))
      if (delivery.kind === "cut") finish(socket, delivery.how)
      return false
    case "drip":
      for (let at = 0; at < whole.length && !signal.aborted; at += delivery.bytes) {
        await write(socket, whole.subarray(at, at + delivery.bytes))
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, delivery.millis)
          signal.addEventListener("abort", () => {
            clearTimeout(timer)
            resolve()
          }, { once: true })
        })
      }
      break
    case "whole":
      if (hasBody(method, response.status)) { for (const piece of frame(whole, framing)) await write(socket, piece) }
  }
  const again = !closes && (framing === "length" || framing === "chunked")
  if (!again) finish(socket, "fin")
  return again
}

const converse = async (
  socket: Socket,
  handle: (request: PeerRequest) => Promise<PeerResponse>,
  signal: AbortSignal,
): Promise<void> => {
  const reader = makeReader(socket)
  for (;;) {
    const start = await reader.line()
    if (start === undefined) return
    const [method, target, version] = start.split(" ")
    if (method === undefined || target === undefined || !version?.startsWith("HTTP/1.")) throw new Gone()
    const headers = await readHeaders(reader)
    const header = (name: string): string | undefined => headers.find(([one]) => one === name)?.[1]
    const chunked = header("transfer-encoding")?.toLowerCase() === "chunked"
    const length = Number(header("content-length") ?? 0)
    let read = !chunked && length === 0
    const body = async (): Promise<Uint8Array> => {
      read = true
      if (header("expect")?.toLowerCase() === "100-continue") {
        await write(socket, encodeLatin1("HTTP/1.1 100 Continue\r\n\r\n"))
      }
      return chunked ? await readChunked(reader) : await reader.take(length)
    }
    const response = await handle({ method, target, headers, body, signal })
    const closes = response.closes || !read || header("connection")?.toLowerCase() === "close"
    if (!await deliver(socket, method, { ...response, closes }, signal)) return
  }
}

/** Serves `handle` on 127.0.0.1. */
export const listen = async (
  handle: (request: PeerRequest) => Promise<PeerResponse>,
  port: number,
): Promise<PeerServer> => {
  const { createServer } = await import("node:net")
  const sockets = new Set<Socket>()
  const counts = { most: 0, total: 0 }
  const server = createServer({ noDelay: true }, (socket) => {
    const gone = new AbortController()
    sockets.add(socket)
    counts.total++
    counts.most = Math.max(counts.most, sockets.size)
    socket.on("close", () => {
      sockets.delete(socket)
      gone.abort()
    })
    // A client that resets its connection is no event here; the close that follows is.
    socket.on("error", () => {})
    converse(socket, handle, gone.signal).catch(() => socket.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, "127.0.0.1", resolve)
  })
  const address = server.address()
  const bound = typeof address === "object" && address !== null ? address.port : port
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    connections: () => ({ open: sockets.size, ...counts }),
    close,
    [Symbol.asyncDispose]: close,
  }
}
