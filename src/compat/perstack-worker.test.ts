/** Perstack's `R2Storage` in a Cloudflare Worker, bundled as for one and run in workerd. */
import { expect } from "bun:test"
import type { Request as WorkerRequest } from "miniflare"
import { fileURLToPath } from "node:url"
import { onlyOn } from "../../scripts/only-on.ts"
import { bundleWorker, workerOptions } from "../../scripts/worker.ts"
import { aCheckpoint, aJob, anEvent, aSetting } from "../stores/execution-testing.ts"
import { makeS3Peer, peerCredentials } from "../testing/s3/mod.ts"

const worker = `
import { R2Storage } from "./perstack-r2.ts"
export default { async fetch(request) {
  const { config, job, checkpoint, setting, event } = await request.json()
  const storage = new R2Storage(config)
  await storage.storeJob(job)
  await storage.storeCheckpoint(checkpoint)
  await storage.storeRunSetting(setting)
  await storage.storeEvent(event)
  const missing = await storage.retrieveCheckpoint(job.id, "none").catch((error) => error.message)
  return Response.json({
    process: typeof process,
    jobs: await storage.getAllJobs(),
    checkpoints: await storage.getCheckpointsByJobId(job.id),
    runs: await storage.getAllRuns(),
    events: await storage.getEventsByRun(job.id, setting.runId),
    missing,
  })
} }`

onlyOn("bun", "the Worker is bundled by Bun")(
  "row 22: R2Storage keeps a run in a Worker, and nothing of node: or of the disk is in its bundle",
  async () => {
    const entry = fileURLToPath(new URL("worker-entry.ts", import.meta.url))
    const script = await bundleWorker(entry, worker)
    expect(script).not.toMatch(/(?:from|import|require)\s*\(?\s*["']node:/)
    expect(script).not.toContain(".holdfast")

    const accountId = "0123456789abcdef0123456789abcdef"
    const peer = makeS3Peer({ seed: 1, region: "auto", quirks: "r2" })
    const hosts = new Set<string>()
    const { Miniflare, Response: MiniflareResponse } = await import("miniflare")
    const flare = new Miniflare({
      ...workerOptions(script),
      // Whatever the Worker fetches comes here: the peer stands for R2.
      outboundService: async (request: WorkerRequest) => {
        hosts.add(new URL(request.url).host)
        const body = request.method === "PUT" || request.method === "POST" ? await request.arrayBuffer() : undefined
        const reply = await peer.fetch(request.url, { method: request.method, headers: [...request.headers], body })
        const empty = request.method === "HEAD" || reply.status === 204 || reply.status === 304
        return new MiniflareResponse(empty ? null : await reply.arrayBuffer(), {
          status: reply.status,
          headers: [...reply.headers],
        })
      },
    })
    const job = aJob("j")
    const checkpoint = aCheckpoint("c")
    const setting = aSetting("j", "r")
    const event = anEvent(1_700_000_000_000, 1)
    try {
      const config = { accountId, bucket: "test", ...peerCredentials, prefix: "perstack/" }
      const reply = await flare.dispatchFetch("http://worker.example/", {
        method: "POST",
        body: JSON.stringify({ config, job, checkpoint, setting, event }),
      })
      expect(await reply.json()).toEqual({
        process: "undefined",
        jobs: [job],
        checkpoints: [checkpoint],
        runs: [setting],
        events: [{ timestamp: event.timestamp, stepNumber: 1, type: event.type }],
        missing: "checkpoint not found: none",
      })
    } finally {
      await flare.dispose()
    }
    expect([...hosts]).toEqual([`${accountId}.r2.cloudflarestorage.com`])
    expect(new TextDecoder().decode(peer.object("test", "perstack/jobs/j/job.json")?.bytes))
      .toBe(JSON.stringify(job, null, 2))
  },
)
