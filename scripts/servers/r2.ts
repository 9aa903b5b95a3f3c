/**
 * Cloudflare's own R2 simulator with its S3 endpoint: `miniflare`, an npm package that the project depends on.
 *
 * It runs in a process of its own (`r2-process.ts`), so that it can be killed, and so that Bun and Deno use the same.
 *
 * @module
 */
import { fileURLToPath } from "node:url"
import { type Profile, profiles } from "../../src/backends/s3/mod.ts"
import { bun } from "../tools.ts"
import { keys, type Server } from "./server.ts"
import { answers, freePort, openWorkspace } from "./workspace.ts"

/**
 * R2 without what its simulator lacks: it ignores the conditions of CompleteMultipartUpload, and answers ListParts,
 * ListMultipartUploads and customers' keys with "not implemented".
 */
const profile: Profile = {
  ...profiles.r2,
  conditional: { ...profiles.r2.conditional, complete: false },
  encryption: [],
  listsParts: false,
  listsUploads: false,
}

/** Starts it. */
export const start = async (): Promise<Server> => {
  const workspace = openWorkspace("r2")
  try {
    const port = await freePort()
    const bucket = "holdfast"
    const endpoint = `http://127.0.0.1:${port}/cdn-cgi/local/r2/s3`
    const settings = { port, bucket, keys, folder: `${workspace.folder}/objects` }
    const startProcess = () =>
      workspace.start([...bun(), fileURLToPath(new URL("r2-process.ts", import.meta.url)), JSON.stringify(settings)])
    let running = startProcess()
    await answers(`http://127.0.0.1:${port}/`, running)
    return {
      ...{ name: "r2", profile, endpoint, region: "auto", credentials: keys, bucket },
      kill: () => running.kill(),
      restart: async () => {
        running = startProcess()
        await answers(`http://127.0.0.1:${port}/`, running)
      },
      stop: () => workspace.close(),
    }
  } catch (error) {
    await workspace.close()
    throw error
  }
}
