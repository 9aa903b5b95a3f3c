/**
 * The server of a measurement: `http-server.ts store FOLDER` serves a folder through Holdfast's routes, mounted as
 * `holdfast serve` does it; `http-server.ts bare BYTES` swallows what is sent and gives out that many bytes, with the
 * runtime's own server and nothing else. Prints its URL; at the end of its input prints what it has cost, as one JSON
 * line, and ends.
 *
 * @module
 */
import { Hono } from "hono"
import { readFileSync } from "node:fs"
import process from "node:process"
import { type Answer, listen } from "../../src/cli/serve/listen.ts"

const [what, of] = process.argv.slice(2) as [string, string]

/** Bytes of a chunk of a bare answer: what was fastest of 64 KiB to 1 MiB. */
const chunk = 256 * 1024

const given = (): ReadableStream<Uint8Array> => {
  let left = Number(of)
  return new ReadableStream({
    pull(controller) {
      if (left <= 0) return controller.close()
      controller.enqueue(new Uint8Array(Math.min(chunk, left)))
      left -= chunk
    },
  }, { highWaterMark: 0 })
}

const bare: Answer = async (request) => {
  if (request.method === "GET") return new Response(given())
  let size = 0
  for await (const piece of request.body!) size += piece.length
  return new Response(String(size))
}

const store = async (): Promise<Answer> => {
  const checkout = process.env["HOLDFAST_CHECKOUT"] ?? "../../"
  const { open } = await import(`${checkout}mod.ts`) as typeof import("../../mod.ts")
  const { storeRoutes } = await import(`${checkout}src/http/mod.ts`) as typeof import("../../src/http/mod.ts")
  const store = await open(`file:${of}`, { compression: "none" })
  const app = new Hono().route("/store", storeRoutes(store, { authorize: () => true, ownsBodies: true }))
  return async (request, _client, env) => await app.fetch(request, env)
}

const server = await listen({ hostname: "127.0.0.1", port: 0 }, what === "bare" ? bare : await store())
const before = process.cpuUsage()
console.log(`http://127.0.0.1:${server.port}/store`)

process.stdin.resume()
process.stdin.once("end", () => {
  const { user, system } = process.cpuUsage(before)
  const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
  console.log(JSON.stringify({ peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }))
  process.exit(0)
})
