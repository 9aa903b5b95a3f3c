/**
 * A run that survives the death of its process, in Perstack's own files: it stores a checkpoint and an event at each
 * step, and a second process goes on from the last one. Then the job is listed, changed by two writers at once, and
 * removed.
 *
 * Run it: bun examples/perstack.ts, or deno run -A examples/perstack.ts
 * It keeps its state in a folder of its own that it removes, or in the store that HOLDFAST_STORE names.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { open } from "@holdfast/holdfast"
import { type Checkpoint, ExecutionStore, type Job } from "@holdfast/holdfast/execution"

const folder = await mkdtemp(join(tmpdir(), "holdfast-perstack-"))
const url = process.env["HOLDFAST_STORE"] || `file:${folder}`
const usage = { inputTokens: 0, outputTokens: 0, reasoningTokens: 0, totalTokens: 0, cachedInputTokens: 0 }
const expert = { key: "researcher@1.0.0", name: "researcher", version: "1.0.0" }
const [jobId, runId] = [`example-${crypto.randomUUID()}`, "run-1"]

/** Works until `lastStep`, from the last checkpoint that is there; a new store each time, as a new process has. */
const work = async (lastStep: number): Promise<Checkpoint> => {
  await using store = await open(url)
  const executions = new ExecutionStore(store, { prefix: "perstack" })
  const last = (await executions.getCheckpointsByJobId(jobId)).at(-1)
  let checkpoint: Checkpoint | undefined = last
  for (let step = (last?.stepNumber ?? 0) + 1; step <= lastStep; step++) {
    checkpoint = {
      id: `checkpoint-${step}`,
      jobId,
      runId,
      status: step === 4 ? "completed" : "proceeding",
      stepNumber: step,
      messages: [
        ...checkpoint?.messages ?? [],
        { id: `m${step}`, type: "userMessage", contents: [{ id: "p", type: "textPart", text: `step ${step}` }] },
      ],
      expert,
      usage,
    }
    await executions.storeCheckpoint(checkpoint)
    await executions.storeEvent({
      id: `event-${step}`,
      type: "startGeneration",
      expertKey: expert.key,
      timestamp: Date.now(),
      jobId,
      runId,
      stepNumber: step,
      messages: checkpoint.messages,
    })
  }
  if (checkpoint === undefined) throw new Error("there was no step to take")
  return checkpoint
}

try {
  await using store = await open(url)
  const executions = new ExecutionStore(store, { prefix: "perstack" })
  const job: Job = {
    id: jobId,
    status: "running",
    coordinatorExpertKey: expert.key,
    totalSteps: 0,
    usage,
    startedAt: Date.now(),
  }
  await executions.storeJob(job)

  await work(2)
  console.log("the first process dies after step 2")
  const done = await work(4)
  console.log(`the second one goes on from there and is ${done.status} at step ${done.stepNumber}`)
  console.assert(done.messages.length === 4, "every step knows the ones before it")

  const steps = (await executions.getEventsByRun(jobId, runId)).map(({ stepNumber }) => stepNumber)
  console.assert(steps.join() === "1,2,3,4", "no step was taken twice")

  // Both change the job at once; neither loses what the other has added.
  await Promise.all(
    [1, 2].map(() => executions.updateJob(jobId, (job) => ({ ...job, totalSteps: job.totalSteps + 2 }))),
  )
  const stored = (await executions.getAllJobs()).find(({ id }) => id === jobId)
  console.assert(stored?.totalSteps === 4)
  console.log(`the job has taken ${stored?.totalSteps} steps`)

  const removed = await executions.deleteJob(jobId)
  console.assert(removed === 9, "a job, four checkpoints and four events")
  console.assert(await executions.retrieveJob(jobId) === undefined)
} finally {
  await rm(folder, { recursive: true, force: true })
}
