/**
 * An agent that dies in the middle of its work and goes on where it stopped: each step is a checkpoint of its thread,
 * and a new process begins with the latest one. Two agents on one thread lose none of each other's steps.
 *
 * Run it: bun examples/checkpointer.ts, or deno run -A examples/checkpointer.ts. It works in a folder of its own, or
 * with HOLDFAST_STORE=s3://bucket/prefix in S3.
 */
import { open } from "@holdfast/holdfast"
import { CheckpointStore } from "@holdfast/holdfast/checkpoints"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

interface Work {
  readonly done: ReadonlyArray<string>
}

const tasks = ["read the brief", "collect sources", "write a draft", "check the figures", "send it"]
const folder = await mkdtemp(join(tmpdir(), "holdfast-example-"))
const url = process.env["HOLDFAST_STORE"] ?? `file:${folder}`
const thread = `report-${crypto.randomUUID()}`

/** One process: takes up the thread and works until it is done, or dies. */
const agent = async (name: string, diesAfter = Infinity): Promise<void> => {
  await using store = await open(url)
  const checkpoints = new CheckpointStore(store)
  for (let steps = 0; steps < diesAfter; steps++) {
    // Where another agent was faster, this runs again with what it has left.
    const id = await checkpoints.update(thread, (current) => {
      const { done } = (current?.state ?? { done: [] }) as Work
      const task = tasks[done.length]
      return task === undefined ? undefined : { state: { done: [...done, task] }, metadata: { agent: name } }
    })
    if (id === undefined) return
  }
  console.log(`${name} dies`)
}

await agent("the first agent", 2)
await Promise.all([agent("the second agent"), agent("the third agent")])

await using store = await open(url)
const checkpoints = new CheckpointStore(store)
const latest = await checkpoints.load(thread)
console.assert(JSON.stringify((latest.state as Work).done) === JSON.stringify(tasks))
let steps = 0
for await (const { metadata, state } of checkpoints.history(thread)) {
  steps++
  console.log(`${metadata["agent"]}: ${(state as Work).done.at(-1)}`)
}
console.assert(steps === tasks.length)
await checkpoints.remove(thread)
await rm(folder, { recursive: true, force: true })
