/**
 * Several workers share one queue of tasks without losing or repeating any: each takes the next task by replacing
 * the queue only if nobody else has replaced it since.
 *
 * Run it: bun examples/compare-and-swap.ts, or deno run -A examples/compare-and-swap.ts
 */
import { open, type Store, StoreError } from "@holdfast/holdfast"

await using store = await open("mem:")
const tasks = Array.from({ length: 30 }, (_, i) => `task ${i + 1}`)
await store.save("queue.json", JSON.stringify(tasks), { ifNoneMatch: "*" })

/** Takes the next task, or says that there is none. */
const take = async (from: Store): Promise<string | undefined> => {
  while (true) {
    const loaded = await from.load("queue.json")
    const [task, ...rest] = await loaded.json<Array<string>>()
    if (task === undefined) return undefined
    try {
      await from.save("queue.json", JSON.stringify(rest), { ifMatch: loaded.info.etag })
      return task
    } catch (error) {
      // Another worker was faster: look again.
      if (!StoreError.is(error) || error.reason !== "PreconditionFailed") throw error
    }
  }
}

const done: Array<string> = []
await Promise.all([1, 2, 3, 4].map(async (worker) => {
  for (let task = await take(store); task !== undefined; task = await take(store)) {
    done.push(task)
    console.log(`worker ${worker} does ${task}`)
  }
}))
console.assert(new Set(done).size === 30 && done.length === 30)
console.log(`${done.length} tasks, each done once`)
