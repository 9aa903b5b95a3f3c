/**
 * A service that speaks as much S3 as a benchmark needs and does as little as it can: what it is sent it counts and
 * forgets, what it is asked for is a pattern in memory. It checks nothing, so that clients are measured and not it.
 *
 * The first part of a key says how many bytes the object has: `GET /bench/4096/anything`. Prints its port, and ends
 * with its standard input.
 *
 * @module
 */
import type { Socket } from "bun"
import process from "node:process"
import { crc32 } from "node:zlib"

/** The pattern repeats after so many bytes. */
const period = 64 * 1024
const repeats = 64
const piece = new Uint8Array(period).map((_, i) => (i * 2654435761) >>> 13)
const pattern = new Uint8Array(period * (repeats + 1))
for (let at = 0; at < pattern.length; at += period) pattern.set(piece, at)

const etag = '"0123456789abcdef0123456789abcdef"'
const encoder = new TextEncoder()
const decoder = new TextDecoder("latin1")

const checksums = new Map<number, string>()
/** CRC-32 of an object of `size` bytes, as S3 answers it. */
const checksumOf = (size: number): string => {
  let known = checksums.get(size)
  if (known === undefined) {
    let crc = 0
    for (let at = 0; at < size; at += period) crc = crc32(piece.subarray(0, Math.min(period, size - at)), crc)
    known = Buffer.of(crc >>> 24, crc >>> 16 & 255, crc >>> 8 & 255, crc & 255).toString("base64")
    checksums.set(size, known)
  }
  return known
}

/** What a connection is in the middle of. */
interface Connection {
  /** The start of a request whose head is not complete. */
  head: Uint8Array | undefined
  /** Bytes of the request's body that are still to come. */
  bodyLeft: number
  /** The answer, due after the body. */
  answer: Answer | undefined
  /** What the socket did not take yet. */
  unsent: Uint8Array | undefined
  /** The object's bytes that are still to be sent. */
  at: number
  until: number
}

interface Answer {
  readonly head: string
  /** The range of the object that follows. */
  readonly from?: number
  readonly until?: number
}

const answer = (status: string, headers: Readonly<Record<string, string | number>>, text?: string): Answer => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  const length = text === undefined ? "" : `content-length: ${text.length}\r\n`
  return { head: `HTTP/1.1 ${status}\r\ndate: ${new Date().toUTCString()}\r\n${lines}${length}\r\n${text ?? ""}` }
}

const document = (root: string, content: string): Answer =>
  answer("200 OK", { "content-type": "application/xml" }, `<?xml version="1.0"?>\n<${root}>${content}</${root}>`)

const upload = "<Bucket>bench</Bucket><Key>key</Key>"

/** What a request is answered. */
const answerTo = (method: string, target: string, header: (name: string) => string | undefined): Answer => {
  const [path, query = ""] = target.split("?", 2) as [string, string?]
  if (method === "POST") {
    return query.includes("uploadId")
      ? document("CompleteMultipartUploadResult", `${upload}<ETag>${etag}</ETag>`)
      : document("InitiateMultipartUploadResult", `${upload}<UploadId>1</UploadId>`)
  }
  if (method === "PUT") return answer("200 OK", { etag }, "")
  if (method === "DELETE") return answer("204 No Content", {})
  const size = Number(path.split("/")[2])
  if (query.includes("uploadId") || !Number.isInteger(size)) return answer("404 Not Found", {}, "")
  const facts = { etag, "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT", "accept-ranges": "bytes" }
  const range = /bytes=(\d+)-(\d*)/.exec(header("range") ?? "")
  if (range !== null) {
    const from = Number(range[1])
    const until = Math.min(size, range[2] === "" ? size : Number(range[2]) + 1)
    const head = answer("206 Partial Content", {
      ...facts,
      "content-range": `bytes ${from}-${until - 1}/${size}`,
      "content-length": until - from,
    })
    return { ...head, from, until }
  }
  const checksum: Record<string, string> = header("x-amz-checksum-mode") === undefined
    ? {}
    : { "x-amz-checksum-crc32": checksumOf(size), "x-amz-checksum-type": "FULL_OBJECT" }
  const head = answer("200 OK", { ...facts, ...checksum, "content-length": size })
  return method === "HEAD" ? head : { ...head, from: 0, until: size }
}

const send = (socket: Socket<Connection>): void => {
  const { data } = socket
  if (data.unsent !== undefined) {
    const taken = socket.write(data.unsent)
    if (taken < data.unsent.length) {
      data.unsent = data.unsent.subarray(Math.max(0, taken))
      return
    }
    data.unsent = undefined
  }
  while (data.at < data.until) {
    const start = data.at % period
    const length = Math.min(data.until - data.at, repeats * period)
    const taken = Math.max(0, socket.write(pattern, start, length))
    data.at += taken
    if (taken < length) return
  }
}

const respond = (socket: Socket<Connection>, { head, from = 0, until = 0 }: Answer): void => {
  const { data } = socket
  const bytes = encoder.encode(head)
  // A short object goes out with its head, in one segment.
  const short = until - from <= period ? until - from : 0
  data.unsent = short === 0 ? bytes : Buffer.concat([bytes, pattern.subarray(from % period, from % period + short)])
  data.at = from + short
  data.until = until
  send(socket)
}

const server = Bun.listen<Connection>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open: (socket) => {
      socket.setNoDelay(true)
      socket.data = { head: undefined, bodyLeft: 0, answer: undefined, unsent: undefined, at: 0, until: 0 }
    },
    drain: send,
    data: (socket, arrived) => {
      const { data } = socket
      let bytes: Uint8Array = arrived
      while (bytes.length > 0) {
        if (data.answer === undefined) {
          const head = data.head === undefined ? bytes : Buffer.concat([data.head, bytes])
          const end = Buffer.from(head.buffer, head.byteOffset, head.length).indexOf("\r\n\r\n")
          if (end < 0) {
            data.head = head.slice()
            return
          }
          data.head = undefined
          const text = decoder.decode(head.subarray(0, end + 2))
          const [method, target] = text.split(" ", 2) as [string, string]
          const header = (name: string): string | undefined => new RegExp(`\r\n${name}: ?(.*)\r\n`, "i").exec(text)?.[1]
          data.answer = answerTo(method, target, header)
          data.bodyLeft = Number(header("content-length") ?? 0)
          if (header("expect") !== undefined) socket.write("HTTP/1.1 100 Continue\r\n\r\n")
          bytes = head.subarray(end + 4)
        }
        const taken = Math.min(bytes.length, data.bodyLeft)
        data.bodyLeft -= taken
        bytes = bytes.subarray(taken)
        if (data.bodyLeft > 0) return
        const due: Answer = data.answer
        data.answer = undefined
        respond(socket, due)
      }
    },
  },
})
console.log(server.port)
process.stdin.on("end", () => process.exit(0)).resume()
