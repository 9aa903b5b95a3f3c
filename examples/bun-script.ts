/**
 * Keeps a snapshot of a folder in a store: on disk, or with HOLDFAST_STORE=s3://bucket/prefix in S3. A connection that
 * breaks, or a service that restarts in the middle, is waited for.
 *
 * Run it: bun examples/bun-script.ts FOLDER, or deno run -A examples/bun-script.ts FOLDER
 */
import { open } from "@holdfast/holdfast"
import * as Schedule from "effect/Schedule"
import { spawn } from "node:child_process"
import process from "node:process"

const [folder = "examples"] = process.argv.slice(2)
// A minute of patience: long enough for a gateway to be restarted.
const retry = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 60 }))
await using store = await open(process.env["HOLDFAST_STORE"] ?? "mem:", { policy: { retry, breaker: "none" } })
const tar = spawn("tar", ["c", folder], { stdio: ["ignore", "pipe", "inherit"] })
const saved = await store.save("snapshot.tar", tar.stdout)
console.log(`saved ${saved.length} bytes of ${folder} as ${saved.size}, SHA-256 ${saved.sha256}`)
let bytes = 0
for await (const chunk of (await store.load("snapshot.tar", { ifMatch: saved.etag })).body) bytes += chunk.length
console.log(`loaded ${bytes} bytes, each frame and the whole checked`)
