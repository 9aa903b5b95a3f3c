/**
 * An agent's state through Persist's functions: saved on disk, or in S3 when the environment says so, restored, checked,
 * replaced by compare-and-swap, and streamed. Files are the ones of Persist: either program reads the other's.
 *
 * Run it: bun examples/persist.ts, or deno run -A examples/persist.ts; on another store with HOLDFAST_STORE=s3://bucket
 */
import { open } from "@holdfast/holdfast"
import * as persist from "@holdfast/holdfast/persist"
import { SnapshotStore } from "@holdfast/holdfast/snapshots"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

interface Agent {
  readonly memory: ReadonlyArray<string>
  readonly temperature: number
  readonly apiKey?: string
}

const agent: Agent = { memory: ["hello"], temperature: 0.7, apiKey: "not for the file" }
const folder = await mkdtemp(join(tmpdir(), "holdfast-persist-"))
try {
  // Persist's own functions. With PERSIST_STORAGE=s3 and PERSIST_S3_BUCKET the same calls go to S3.
  const path = "agents/bot/snapshot_001.json.gz"
  const place = { local_base_path: folder }
  await persist.snapshot(agent, path, { ...place, agent_id: "bot", description: "after training", redact: ["apiKey"] })
  const restored = await persist.restore<Agent>(path, place)
  console.assert(restored.memory[0] === "hello" && restored.apiKey === undefined)
  await persist.verify_snapshot(path, place)
  console.assert((await persist.get_metadata(path, place)).agent_id === "bot")

  // The same files through the store, which can do more.
  await using store = await open(process.env["HOLDFAST_STORE"] ?? `file:${join(folder, "agents", "bot")}`)
  const snapshots = new SnapshotStore(store)
  const key = process.env["HOLDFAST_STORE"] === undefined ? "snapshot_001.json.gz" : path
  if (process.env["HOLDFAST_STORE"] !== undefined) await snapshots.snapshot(key, restored)

  // Two writers, one change: whoever comes second is told.
  const { state, etag } = await snapshots.restore<Agent>(key)
  const next = { ...state, memory: [...state.memory, "how are you?"] }
  const first = await snapshots.snapshot(key, next, { agentId: "bot", ifMatch: etag })
  const second = await snapshots.snapshot(key, next, { ifMatch: etag }).catch((error) => error.reason)
  console.assert(second === "PreconditionFailed")

  // A state of any size, as a stream of JSON: what comes out has been checked when the stream ends well.
  const large = `${key}.large`
  const lines = async function* (): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 10_000; i++) {
      yield new TextEncoder().encode(`${i === 0 ? "[" : ","}"line ${i} of a long memory"`)
    }
    yield new TextEncoder().encode("]")
  }
  const saved = await snapshots.saveStream(large, lines, { agentId: "bot" })
  let bytes = 0
  for await (const chunk of (await snapshots.loadStream(large)).body) bytes += chunk.length
  console.assert(bytes === saved.metadata.uncompressed_size)
  for await (const one of snapshots.listSnapshots({ prefix: key })) {
    console.log(one.path, one.size, one.metadata?.agent_id, one.metadata?.content_hash)
  }
  for (const { path } of [first, saved]) await snapshots.deleteSnapshot(path)
} finally {
  await rm(folder, { recursive: true, force: true })
}
