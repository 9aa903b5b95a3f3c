/**
 * A WebDAV server in memory, behind a `fetch`, that does what a script says: for the faults that real servers show too
 * seldom.
 *
 * @module
 */

/** What becomes of a request: `lost`: it is done and its answer does not arrive; `unsent`: neither. */
export type Fate = "lost" | "unsent" | Response | undefined

/** A server. */
export interface Peer {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
  /** The files by path, without the server's own folder. */
  readonly files: Map<string, { bytes: Uint8Array; time: number; serial: number }>
  readonly folders: Set<string>
  /** Each request as `METHOD /path`. */
  readonly asked: Array<string>
  /** Says what becomes of a request, before it is done. */
  script: (method: string, path: string) => Fate
  /** Changes an answer on its way. */
  answer: (method: string, path: string, response: Response) => Response
  /** The server's clock, in milliseconds; it stands still. */
  now: number
}

/** How etags are made: of the second and the size, as nginx does it; of each write; or anew for each move. */
export type Etags = "seconds" | "unique" | "moving"

const escapeXml = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** Makes a server, empty. */
export const makePeer = (etags: Etags = "seconds"): Peer => {
  const files: Peer["files"] = new Map()
  const folders = new Set<string>([""])
  let serial = 0
  const peer: Peer = {
    files,
    folders,
    asked: [],
    script: () => undefined,
    answer: (_method, _path, response) => response,
    now: Date.now(),
    fetch: async (url, init) => {
      const method = init.method ?? "GET"
      const path = decodeURIComponent(new URL(url).pathname).replace(/\/+$/, "")
      peer.asked.push(`${method} ${path}`)
      init.signal?.throwIfAborted()
      const fate = peer.script(method, path)
      if (fate === "unsent") throw Object.assign(new Error("Connection refused"), { code: "ConnectionRefused" })
      if (fate instanceof Response) return fate
      const response = peer.answer(method, path, await handle(method, path, init))
      if (fate === "lost") throw Object.assign(new Error("The socket was closed"), { code: "ECONNRESET" })
      return response
    },
  }
  const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/"))
  const below = (path: string): Array<string> =>
    [...files.keys(), ...folders].filter((name) => name.startsWith(`${path}/`))
  const etagOf = ({ time, serial, bytes }: { time: number; serial: number; bytes: Uint8Array }): string =>
    etags === "seconds" ? `"${Math.floor(time / 1000).toString(16)}-${bytes.length}"` : `"${serial}"`
  const reply = (status: number, body: BodyInit | null = null, headers: Record<string, string> = {}): Response =>
    new Response(body, { status, headers: { date: new Date(peer.now).toUTCString(), ...headers } })
  const describe = (path: string): string => {
    const file = files.get(path)
    const facts = file === undefined
      ? "<x:resourcetype><x:collection/></x:resourcetype>"
      : `<x:resourcetype/><x:getcontentlength>${file.bytes.length}</x:getcontentlength>`
    const time = new Date(file?.time ?? peer.now).toUTCString()
    const href = escapeXml(encodeURI(path)) + (file === undefined ? "/" : "")
    return `<x:response><x:href>${href}</x:href><x:propstat><x:prop>${facts}` +
      `<x:getlastmodified>${time}</x:getlastmodified></x:prop><x:status>HTTP/1.1 200 OK</x:status></x:propstat></x:response>`
  }
  const handle = async (method: string, path: string, { headers, body }: RequestInit): Promise<Response> => {
    const given = new Headers(headers)
    const file = files.get(path)
    const there = file !== undefined || folders.has(path)
    switch (method) {
      case "PUT": {
        if (!folders.has(parentOf(path))) return reply(409)
        const time = Date.parse(given.get("date") ?? "") || peer.now
        files.set(path, { bytes: await new Response(body).bytes(), time, serial: ++serial })
        return reply(201)
      }
      case "HEAD":
      case "GET": {
        if (folders.has(path)) return reply(301, null, { location: `${path}/` })
        if (file === undefined) return reply(404)
        const facts = { etag: etagOf(file), "last-modified": new Date(file.time).toUTCString() }
        const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(given.get("range") ?? "") ?? []
        const size = file.bytes.length
        if (from !== undefined && Number(from) >= size) return reply(416)
        const end = to ? Math.min(Number(to) + 1, size) : size
        const part = file.bytes.slice(Number(from ?? 0), end)
        return reply(from === undefined ? 200 : 206, method === "HEAD" ? null : part, {
          ...facts,
          "content-length": String(part.length),
          ...(from === undefined ? {} : { "content-range": `bytes ${from}-${end - 1}/${size}` }),
        })
      }
      case "DELETE":
        if (!there) return reply(404)
        for (const name of [path, ...below(path)]) {
          files.delete(name)
          folders.delete(name)
        }
        return reply(204)
      case "MKCOL":
        if (there) return reply(405)
        if (!folders.has(parentOf(path))) return reply(409)
        folders.add(path)
        return reply(201)
      case "MOVE": {
        const to = decodeURIComponent(new URL(given.get("destination") ?? "").pathname)
        if (file === undefined) return reply(404)
        if (!folders.has(parentOf(to))) return reply(409)
        if (given.get("overwrite") === "F" && (files.has(to) || folders.has(to))) return reply(412)
        for (const name of [to, ...below(to)]) folders.delete(name), files.delete(name)
        files.delete(path)
        files.set(to, { ...file, serial: etags === "moving" ? ++serial : file.serial })
        return reply(201)
      }
      case "PROPFIND": {
        if (!there) return reply(404)
        const children = given.get("depth") === "1" ? below(path).filter((name) => parentOf(name) === path) : []
        return reply(
          207,
          `<?xml version="1.0"?><x:multistatus xmlns:x="DAV:">${
            [path, ...children].map(describe).join("")
          }</x:multistatus>`,
        )
      }
      default:
        return reply(405)
    }
  }
  return peer
}
