/**
 * A Hono program on Bun with a store in it, and another program that uses the store without any keys of its own.
 *
 * Run it: bun examples/hono-bun.ts
 */
import { open, openBackend } from "@holdfast/holdfast"
import { bearerIs, storeRoutes } from "@holdfast/holdfast/http"
import * as Remote from "@holdfast/holdfast/remote"
import { Hono } from "hono"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"

/** What is used of Bun's own server. */
interface BunServer {
  readonly serve: (options: {
    readonly hostname: string
    readonly port: number
    readonly maxRequestBodySize: number
    readonly fetch: (request: Request, server: object) => Response | Promise<Response>
  }) => { readonly port: number; readonly stop: (force: boolean) => Promise<void> }
}

const { Bun } = globalThis as unknown as { readonly Bun?: BunServer }
if (Bun === undefined) console.log("this example is for Bun; examples/hono-deno.ts does the same on Deno")
else {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-example-`)
  await using store = await open(`file:${folder}`)

  // Tokens come from the environment in earnest: process.env.STORE_TOKEN.
  const token = crypto.randomUUID()
  const app = new Hono()
  app.route(
    "/store",
    storeRoutes(store, {
      // Nothing is allowed that this does not allow.
      authorize: ({ verb, key, request }) => (verb === "load" && key.startsWith("public/")) || bearerIs(request, token),
    }),
  )
  // Bun takes 128 MiB of a body by default; the routes count for themselves (maxBytes).
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, maxRequestBodySize: 2 ** 40, fetch: app.fetch })
  const url = `http://127.0.0.1:${server.port}/store`

  // Any client of HTTP will do: curl -T notes.txt -H "authorization: Bearer …" …/store/o/public/notes.txt
  const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" }
  await fetch(`${url}/o/public/notes.txt`, { method: "PUT", body: "for everyone", headers })
  const notes = await fetch(`${url}/o/public/notes.txt`, { headers: { range: "bytes=4-" } })
  console.log(notes.status, notes.headers.get("content-range"), await notes.text())

  // Another Holdfast has all of its verbs: streams of any length, conditions, checksums, resumable uploads.
  await using remote = await openBackend(Remote.make({ url, token }))
  const made = await remote.save("runs/42.json", JSON.stringify({ step: 1 }), { ifNoneMatch: "*" })
  await remote.save("runs/42.json", JSON.stringify({ step: 2 }), { ifMatch: made.etag })
  console.log(await (await remote.load("runs/42.json")).json())

  await server.stop(true)
  await rm(folder, { recursive: true })
}
