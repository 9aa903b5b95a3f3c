/** The signer and the chain where there is no `node:`, no environment and no file system: a Cloudflare Worker. */
import { expect } from "bun:test"
import { fileURLToPath } from "node:url"
import { onlyOn } from "../../scripts/only-on.ts"
import { bundleWorker, workerOptions } from "../../scripts/worker.ts"

const worker = `
import { Signer, emptyPayload } from "./sign.ts"
import { Clock } from "./clock.ts"
import { findCredentials } from "./chain.ts"
export default { async fetch() {
  const credentials = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" }
  const clock = new Clock(() => Date.parse("2013-05-24T00:00:00Z"))
  const signer = new Signer({ region: "us-east-1", credentials, clock })
  const origin = "https://examplebucket.s3.amazonaws.com"
  const request = { method: "GET", origin, path: "/test.txt", headers: { range: "bytes=0-9" } }
  const { headers } = await signer.sign(request, emptyPayload)
  const machine = { variable: () => undefined, readText: () => Promise.resolve(undefined), now: Date.now,
    fetch: () => Promise.reject(new Error("no network")) }
  const chain = await findCredentials({ machine }).catch((error) => error.reason)
  return Response.json({ authorization: headers.authorization, process: typeof process, chain })
} }`

onlyOn("bun", "the Worker is bundled by Bun")(
  "a Worker signs by WebCrypto, and nothing of node: is reachable",
  async () => {
    const entry = fileURLToPath(new URL("worker-entry.ts", import.meta.url))
    const script = await bundleWorker(entry, worker)
    expect(script).not.toMatch(/(?:from|import|require)\s*\(?\s*"node:/)
    const { Miniflare } = await import("miniflare")
    const flare = new Miniflare(workerOptions(script))
    try {
      const reply = await flare.dispatchFetch("http://worker.example/")
      expect(await reply.json()).toEqual({
        authorization: "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
          "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, " +
          "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        process: "undefined",
        chain: "Unauthorized",
      })
    } finally {
      await flare.dispose()
    }
  },
)
