/** The suites of the stores of agent state on Ceph's gateway, a server that others wrote. */
import { afterAll, expect, test } from "bun:test"
import { execFile } from "node:child_process"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { startServers } from "../../scripts/servers/mod.ts"
import { openStore } from "../../scripts/servers/stores.ts"
import { validateSaver } from "../compat/langgraph-testing.ts"
import { checkpointerCases } from "../compat/s3-checkpointer-testing.ts"
import { addSuite, type PlaceKind } from "./testing.ts"
import { suite as checkpoints } from "./checkpoints-testing.ts"
import { suite as documents } from "./documents-testing.ts"
import { suite as execution } from "./execution-testing.ts"
import { suite as snapshots } from "./snapshots-testing.ts"

// That Deno's `fetch` gets along with this server is seen in the S3 backend's own tests.
if ("Deno" in globalThis) test.skip("stores on Ceph (skipped: Bun only: the code is the same)", () => {})
else {
  const { servers: [server], missing } = await startServers(["ceph"])
  for (const { name, why } of missing) test.skip(`stores on ${name} (skipped: ${why})`, () => {})
  if (server !== undefined) {
    afterAll(() => server.stop())
    let places = 0
    const ceph: PlaceKind = {
      name: "ceph",
      fresh: () => {
        // One bucket for all, so each place is a prefix of its own.
        const prefix = `place-${++places}/`
        return Promise.resolve({
          name: "ceph",
          root: undefined,
          open: () => openStore(server, { prefix }, { compression: undefined }),
          [Symbol.asyncDispose]: () => Promise.resolve(),
        })
      },
    }
    for (const suite of [execution, snapshots, documents, checkpoints]) addSuite(suite, [ceph])

    test("LangGraph's own validation of savers passes on Ceph", async () => {
      await using store = await openStore(server, { prefix: "langgraph/" })
      await validateSaver(store)
    }, 120_000)

    const { endpoint, region, bucket, credentials, profile } = server
    for (const name of ["perstack", "persist", "documents", "checkpointer", "langgraph"]) {
      test(`examples/${name}.ts runs on Ceph, named by HOLDFAST_STORE`, async () => {
        const env = {
          ...process.env,
          HOLDFAST_STORE: `s3://${bucket}/example-${name}?endpoint=${endpoint}&region=${region}&profile=ceph`,
          AWS_ACCESS_KEY_ID: credentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        }
        const file = fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url))
        const said = await new Promise<string>((resolve, reject) => {
          execFile(process.execPath, [file], { env }, (error, stdout, stderr) => {
            if (error === null) resolve(stdout + stderr)
            else reject(new Error(`${file}\n${stdout}${stderr}`))
          })
        })
        expect(said).not.toMatch(/assertion failed/i)
        expect(said).not.toBe("")
      }, 60_000)
    }

    const config = { bucket_name: "agents", region, endpoint_url: endpoint, force_path_style: true }
    for (const { name, run } of checkpointerCases) {
      test(
        `S3Checkpointer on Ceph: ${name}`,
        () => run({ config, options: { credentials, profile }, encrypts: false, fetch: (url) => fetch(url) }),
        60_000,
      )
    }
  }
}
