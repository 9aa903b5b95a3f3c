/**
 * An R2 bucket behind Hono in a Cloudflare Worker: for programs elsewhere that are to have a URL and a token, and no keys
 * of Cloudflare's.
 *
 *     curl -T notes.txt .../store/o/notes.txt -H 'authorization: Bearer TOKEN'
 *     HOLDFAST_TOKEN=TOKEN holdfast save runs/42.tar snapshot.tar --store https://.../store
 *
 * Run it in this folder: npm install @holdfast/holdfast hono, write TOKEN=… into the file .dev.vars, then npx wrangler
 * dev. With an account: npx wrangler r2 bucket create objects, npx wrangler secret put TOKEN, npx wrangler deploy.
 */
import { openBackend } from "@holdfast/holdfast"
import { bearerIs, storeRoutes } from "@holdfast/holdfast/http"
import * as R2Binding from "@holdfast/holdfast/r2-binding"
import { Hono } from "hono"

interface Env {
  readonly BUCKET: R2Binding.R2Bucket
  readonly TOKEN: string
}

const app: Hono<{ Bindings: Env }> = new Hono()

app.get("/", (c) => c.text("the store is at /store\n"))

app.all("/store/*", async (c) => {
  const { BUCKET, TOKEN } = c.env
  // A Worker must not wait in one request for what another one does, so each has a store of its own; making it asks
  // nothing of R2.
  const store = await openBackend(R2Binding.make(BUCKET))
  const routes = storeRoutes(store, {
    // Nothing is allowed that this does not allow.
    authorize: ({ verb, key, request }) => (verb === "load" && key.startsWith("public/")) || bearerIs(request, TOKEN),
  })
  return await new Hono().route("/store", routes).fetch(c.req.raw)
})

export default app
