/**
 * A LangGraph.js agent that asks before it acts. It stops at an interrupt, its process ends, and another one goes on
 * with the answer: the thread is in a store, not in memory.
 *
 * Run it: bun examples/langgraph.ts, or deno run -A examples/langgraph.ts. It works in a folder of its own, or with
 * HOLDFAST_STORE=s3://bucket/prefix in S3. Needs @langchain/langgraph.
 */
import { open } from "@holdfast/holdfast"
import { HoldfastSaver } from "@holdfast/holdfast/langgraph"
import { Annotation, Command, END, interrupt, START, StateGraph } from "@langchain/langgraph"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

const State = Annotation.Root({
  amount: Annotation<number>(),
  log: Annotation<Array<string>>({ reducer: (before, more) => [...before, ...more], default: () => [] }),
})

/** The agent, on the checkpoints of a saver. */
const agentOn = (saver: HoldfastSaver) =>
  new StateGraph(State)
    .addNode("plan", ({ amount }) => ({ log: [`plans to pay ${amount}`] }))
    .addNode("pay", ({ amount }) => {
      const answer: string = interrupt(`pay ${amount}?`)
      return { log: [answer === "yes" ? `has paid ${amount}` : "has paid nothing"] }
    })
    .addEdge(START, "plan")
    .addEdge("plan", "pay")
    .addEdge("pay", END)
    .compile({ checkpointer: saver })

const folder = await mkdtemp(join(tmpdir(), "holdfast-example-"))
const url = process.env["HOLDFAST_STORE"] ?? `file:${folder}`
const thread = { configurable: { thread_id: `payment-${crypto.randomUUID()}` } }

{
  await using store = await open(url)
  const agent = agentOn(new HoldfastSaver(store))
  await agent.invoke({ amount: 42 }, thread)
  const { next, tasks } = await agent.getState(thread)
  console.log(`stopped before ${next}, which asks: ${tasks[0]?.interrupts[0]?.value}`)
  console.assert(next[0] === "pay")
}

await using store = await open(url)
const saver = new HoldfastSaver(store)
const agent = agentOn(saver)
const result = await agent.invoke(new Command({ resume: "yes" }), thread)
console.log(result.log.join("; "))
console.assert(result.log.join("; ") === "plans to pay 42; has paid 42")

// Every step is still there, the newest first.
let steps = 0
for await (const _ of agent.getStateHistory(thread)) steps++
console.log(`${steps} checkpoints`)
console.assert(steps === 4)

await saver.deleteThread(thread.configurable.thread_id)
console.assert(await saver.getTuple(thread) === undefined)
await rm(folder, { recursive: true, force: true })
