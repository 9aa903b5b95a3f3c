/** The Worker of `examples/hono-worker`, with a secret as `wrangler secret put` would give it. */
import worker from "../../examples/hono-worker/index.ts"

type Bindings = Parameters<typeof worker.fetch>[1]

export default {
  fetch: (request: Request, env: object): Response | Promise<Response> =>
    worker.fetch(request, { ...env, TOKEN: "worker-test-token" } as Bindings),
}
