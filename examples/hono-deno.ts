/**
 * A Hono program on Deno with a store in it, and another program that uses the store without any keys of its own.
 *
 * Run it: deno run -A examples/hono-deno.ts
 */
import { open, openBackend } from "@holdfast/holdfast"
import { bearerIs, storeRoutes } from "@holdfast/holdfast/http"
import * as Remote from "@holdfast/holdfast/remote"
import { Hono } from "hono"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"

/** What is used of Deno's own server. */
interface DenoServer {
  readonly serve: (
    options: { readonly hostname: string; readonly port: number; readonly onListen: () => void },
    handler: (request: Request) => Response | Promise<Response>,
  ) => { readonly addr: { readonly port: number }; readonly shutdown: () => Promise<void> }
}

const { Deno } = globalThis as unknown as { readonly Deno?: DenoServer }
if (Deno === undefined) console.log("this example is for Deno; examples/hono-bun.ts does the same on Bun")
else {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-example-`)
  await using store = await open(`file:${folder}`)

  // Tokens come from the environment in earnest: Deno.env.get("STORE_TOKEN").
  const token = crypto.randomUUID()
  const app = new Hono()
  // Nothing is allowed that authorize does not allow.
  app.route("/store", storeRoutes(store, { authorize: ({ request }) => bearerIs(request, token) }))
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => app.fetch(request))
  const url = `http://127.0.0.1:${server.addr.port}/store`

  // Any client of HTTP will do: curl -T notes.txt -H "authorization: Bearer …" …/store/o/notes.txt
  const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" }
  const saved = await fetch(`${url}/o/notes.txt`, { method: "PUT", body: "hello", headers })
  console.log(saved.status, await saved.json())

  // Another Holdfast has all of its verbs: streams of any length, conditions, checksums, resumable uploads.
  await using remote = await openBackend(Remote.make({ url, token }))
  const loaded = await remote.load("notes.txt")
  console.log(loaded.info.contentType, await loaded.text())
  for await (const { key, size } of remote.list()) console.log(`${size} stored bytes in ${key}`)

  await server.shutdown()
  await rm(folder, { recursive: true })
}
