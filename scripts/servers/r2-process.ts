/**
 * The process that `r2.ts` starts. Its argument is JSON: port, bucket, keys, and the folder that keeps the objects.
 *
 * @module
 */
import process from "node:process"
import { Miniflare } from "miniflare"

const { port, bucket, keys, folder } = JSON.parse(process.argv[2]!)

await new Miniflare({
  host: "127.0.0.1",
  port,
  modules: true,
  script: "export default { fetch: () => new Response('ready') }",
  r2Persist: folder,
  r2Buckets: { BUCKET: { id: bucket, s3Credentials: keys } },
}).ready
