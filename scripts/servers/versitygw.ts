/**
 * Versity's S3 gateway over a folder. Of the servers that can be started here it alone checks the checksums and
 * conditions that Amazon has and Ceph 16 lacks.
 *
 * A Go program, built by `install.ts` into the project's cache.
 *
 * @module
 */
import { existsSync, mkdirSync } from "node:fs"
import { root } from "../tools.ts"
import { profiles } from "../../src/backends/s3/mod.ts"
import { createBucket, keys, type Server } from "./server.ts"
import { answers, freePort, openWorkspace } from "./workspace.ts"

/** The version that the tests' expectations hold for. */
export const version = "v1.8.0"

/** Where `go install` puts it. */
export const binFolder: string = `${root}.cache/go-bin-${version}`

const program = `${binFolder}/versitygw`

/** Whether it has been built. */
export const installed = (): boolean => existsSync(program)

/** Starts it. */
export const start = async (): Promise<Server> => {
  const workspace = openWorkspace("versitygw")
  const { folder } = workspace
  try {
    const port = await freePort()
    const endpoint = `http://127.0.0.1:${port}`
    const region = "us-east-1"
    for (const name of ["objects", "versions"]) mkdirSync(`${folder}/${name}`)
    const startGateway = () =>
      workspace.start([
        ...[program, "--port", `127.0.0.1:${port}`, "--region", region, "--quiet"] as const,
        ...["posix", "--versioning-dir", `${folder}/versions`, `${folder}/objects`],
      ], { ROOT_ACCESS_KEY: keys.accessKeyId, ROOT_SECRET_KEY: keys.secretAccessKey })
    let running = startGateway()
    await answers(endpoint, running)
    const [bucket, versionedBucket] = ["holdfast", "holdfast-versions"]
    await createBucket(endpoint, bucket, false)
    await createBucket(endpoint, versionedBucket, true)
    return {
      ...{
        name: "versitygw",
        profile: profiles.versitygw,
        endpoint,
        region,
        credentials: keys,
        bucket,
        versionedBucket,
      },
      kill: () => running.kill(),
      restart: async () => {
        running = startGateway()
        await answers(endpoint, running)
      },
      stop: () => workspace.close(),
    }
  } catch (error) {
    await workspace.close()
    throw error
  }
}
