/**
 * Agent state in a Cloudflare Worker. Each agent's state is one object in R2, and only who has seen the last state can
 * replace it:
 *
 *     curl -X PUT  .../agents/42 -d '{"step":1}' -H 'if-none-match: *'    201, etag: "…"; 412 when there is one already
 *     curl         .../agents/42                                          200, {"step":1}
 *     curl -X PUT  .../agents/42 -d '{"step":2}' -H 'if-match: "…"'       201; 412 when another was faster
 *
 * Run it in this folder: npm install @holdfast/holdfast, then npx wrangler dev; with an account, npx wrangler r2 bucket
 * create agents and npx wrangler deploy. There is nothing else to set up: no keys, no nodejs_compat.
 */
import { openBackend, type Reason, StoreError } from "@holdfast/holdfast"
import * as R2Binding from "@holdfast/holdfast/r2-binding"

interface Env {
  readonly BUCKET: R2Binding.R2Bucket
}

const statusOf: Partial<Record<Reason, number>> = {
  NotFound: 404,
  AlreadyExists: 412,
  PreconditionFailed: 412,
  InvalidKey: 400,
  RateLimited: 429,
  // More than one part, which R2 cannot store on a condition.
  Unsupported: 413,
}

const unquoted = (etag: string | null): string | undefined => etag?.replaceAll('"', "")

const answer = async (request: Request, env: Env): Promise<Response> => {
  // A binding belongs to the request at hand, and so does the store; making it asks nothing of R2.
  const store = await openBackend(R2Binding.make(env.BUCKET))
  const key = decodeURIComponent(new URL(request.url).pathname.slice(1))
  if (request.method === "PUT") {
    const ifMatch = unquoted(request.headers.get("if-match"))
    const info = await store.save(key, request.body ?? "", {
      contentType: request.headers.get("content-type") ?? "application/json",
      ...(ifMatch === undefined ? { ifNoneMatch: "*" } : { ifMatch }),
    })
    return new Response(null, { status: 201, headers: { etag: `"${info.etag}"` } })
  }
  const { info, body } = await store.load(key)
  return new Response(body, { headers: { etag: `"${info.etag}"`, "content-type": info.contentType ?? "" } })
}

export default {
  fetch: (request: Request, env: Env): Promise<Response> =>
    answer(request, env).catch((error: unknown) => {
      if (!StoreError.is(error)) throw error
      return new Response(`${error.message}\n`, { status: statusOf[error.reason] ?? 500 })
    }),
}
