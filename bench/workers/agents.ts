/**
 * Events and checkpoints of agents in one kind of place: `agents.ts FOLDER PLACE EVENTS CHECKPOINTS`. Prints one JSON
 * line, what each step took by its name.
 *
 * The place is fresh, and every step goes on from what the ones before have stored. Events come 32 at a time, as from
 * several tools at work; the checkpoints of one agent one after another, each once the one before is stored for good.
 *
 * @module
 */
import { rm } from "node:fs/promises"
import process from "node:process"
import { CheckpointStore } from "../../src/stores/checkpoints.ts"
import { type Checkpoint, ExecutionStore, type RunEvent } from "../../src/stores/execution.ts"
import type { StepName } from "../agents.ts"
import type { WorkerResult } from "../harness.ts"
import { message, openPlace, type PlaceName } from "./agents-place.ts"
import { many, smallInFlight } from "./work.ts"

const [parent, name, ...numbers] = process.argv.slice(2) as [string, PlaceName, string, string]
const [events, checkpoints] = numbers.map(Number) as [number, number]
/** Messages of a checkpoint's state. */
const messages = 12
/** How often the latest checkpoint is asked for. */
const loads = 100

const [jobId, runId, thread] = ["job", "run", "thread"]
const expert = { key: "expert@1.0.0", name: "expert", version: "1.0.0" }

const event = (n: number): RunEvent<"streamRunResult"> => ({
  id: `event-${n}`,
  expertKey: expert.key,
  timestamp: 1_700_000_000_000 + n,
  jobId,
  runId,
  stepNumber: Math.floor(n / 10),
  type: "streamRunResult",
  delta: message(n),
})

const checkpoint = (n: number): Checkpoint => ({
  id: `checkpoint-${n}`,
  jobId,
  runId,
  status: "proceeding",
  stepNumber: n,
  messages: Array.from({ length: messages }, (_, i) => ({
    id: `message-${n}-${i}`,
    type: "userMessage",
    contents: [{ id: "part", type: "textPart", text: message(n * messages + i) }],
  })),
  expert,
  usage: { inputTokens: 1, outputTokens: 2, reasoningTokens: 3, totalTokens: 6, cachedInputTokens: 0 },
})

/** Fails unless as many came as there are. */
const all = (found: number, expected: number): void => {
  if (found !== expected) throw new Error(`${found} of ${expected}`)
}

const count = async (items: AsyncIterable<unknown>): Promise<number> => {
  let found = 0
  for await (const _ of items) found++
  return found
}

const folder = `${parent}/agents`
const { store, step, end } = await openPlace(name, folder)
const executions = new ExecutionStore(store)
const threads = new CheckpointStore(store)

const results: Record<StepName, WorkerResult> = {
  storeEvent: await step(events, () => many(events, smallInFlight, (n) => executions.storeEvent(event(n)))),
  getEventsByRun: await step(events, async () => all((await executions.getEventsByRun(jobId, runId)).length, events)),
  getEventContents: await step(
    events,
    async () => all((await executions.getEventContents(jobId, runId)).length, events),
  ),
  storeCheckpoint: await step(checkpoints, async () => {
    for (let n = 0; n < checkpoints; n++) await executions.storeCheckpoint(checkpoint(n))
  }),
  getCheckpointsByJobId: await step(
    checkpoints,
    async () => all((await executions.getCheckpointsByJobId(jobId)).length, checkpoints),
  ),
  save: await step(checkpoints, async () => {
    let last: string | undefined
    for (let n = 0; n < checkpoints; n++) last = await threads.save(thread, checkpoint(n), { parent: last })
  }),
  list: await step(checkpoints, async () => all(await count(threads.list(thread)), checkpoints)),
  history: await step(checkpoints, async () => all(await count(threads.history(thread)), checkpoints)),
  load: await step(loads, async () => {
    for (let n = 0; n < loads; n++) {
      const { state } = await threads.load(thread)
      all((state as Checkpoint).stepNumber + 1, checkpoints)
    }
  }),
}
await end()
await rm(folder, { recursive: true, force: true })
console.log(JSON.stringify(results))
process.exit(0)
