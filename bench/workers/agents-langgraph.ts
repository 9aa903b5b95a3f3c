/**
 * One agent of LangGraph.js, from its first turn to its last: `agents-langgraph.ts FOLDER SAVER TURNS`. Prints one JSON
 * line.
 *
 * The graph has one node, which answers at once, and keeps all its messages, so that each checkpoint is larger than the
 * one before. A turn is one `invoke` on the same thread, as a chat is: LangGraph asks for the latest checkpoint and
 * stores three more and what two tasks have written, by itself at the same time as it goes on.
 *
 * `SqliteSaver` is made for better-sqlite3, an addon that has to be built. Here it gets `bun:sqlite`, which follows that
 * one's interface and by Bun's own figures is the faster of the two.
 *
 * @module
 */
import { AIMessage, HumanMessage } from "@langchain/core/messages"
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph"
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint"
import { plugin } from "bun"
import { Database, type SQLQueryBindings } from "bun:sqlite"
import { mkdir, readdir, rm, stat } from "node:fs/promises"
import process from "node:process"
import { HoldfastSaver } from "../../src/compat/langgraph.ts"
import type { Codec } from "../../src/streams/codec.ts"
import type { SaverName } from "../agents.ts"
import type { WorkerResult } from "../harness.ts"
import { measured, message, openPlace, type PlaceName } from "./agents-place.ts"

const [parent, name, count] = process.argv.slice(2) as [string, SaverName, string]
const turns = Number(count)
const folder = `${parent}/langgraph`

/** A saver, how it is measured, and what ends it. */
interface Subject {
  readonly saver: BaseCheckpointSaver
  readonly step: (work: number, run: () => Promise<unknown>) => Promise<WorkerResult>
  readonly end: () => Promise<void> | void
}

const holdfast = async (name: PlaceName, compression?: Codec | "none"): Promise<Subject> => {
  const { store, step, end } = await openPlace(name, folder)
  return { saver: new HoldfastSaver(store, { compression }), step, end }
}

/** As much of better-sqlite3's database as the saver uses. */
class SqliteDatabase {
  readonly #database: Database

  constructor(path: string) {
    this.#database = new Database(path)
    // What better-sqlite3 is compiled with.
    this.pragma("cache_size=-16000")
  }

  pragma(text: string): unknown {
    return this.#database.prepare(`PRAGMA ${text}`).all()
  }

  exec(sql: string): void {
    this.#database.run(sql)
  }

  prepare(sql: string) {
    const statement = this.#database.prepare<unknown, Array<SQLQueryBindings>>(sql)
    return {
      // Where there is no row, one of the two says null and the other undefined.
      get: (...values: Array<SQLQueryBindings>) => statement.get(...values) ?? undefined,
      all: (...values: Array<SQLQueryBindings>) => statement.all(...values),
      run: (...values: Array<SQLQueryBindings>) => statement.run(...values),
    }
  }

  transaction(work: (rows: unknown) => void): (rows: unknown) => void {
    return this.#database.transaction(work)
  }

  close(): void {
    this.#database.close()
  }
}

/**
 * `NORMAL` is better-sqlite3's own setting: the last commits may be gone after a power cut. With `FULL` a commit that has
 * returned stays, as what Holdfast has saved does.
 */
const sqlite = async (synchronous: "NORMAL" | "FULL"): Promise<Subject> => {
  plugin({
    name: "bun:sqlite for better-sqlite3",
    setup: (build) =>
      void build.module("better-sqlite3", () => ({ loader: "object", exports: { default: SqliteDatabase } })),
  })
  const { SqliteSaver } = await import("@langchain/langgraph-checkpoint-sqlite")
  const database = new SqliteDatabase(`${folder}/agent.db`)
  database.pragma(`synchronous=${synchronous}`)
  return { saver: new SqliteSaver(database), step: measured, end: () => database.close() }
}

const subjects: Record<SaverName, () => Promise<Subject>> = {
  "holdfast-disk": () => holdfast("disk"),
  "holdfast-disk-plain": () => holdfast("disk", "none"),
  "holdfast-memory": () => holdfast("memory"),
  "sqlite-normal": () => sqlite("NORMAL"),
  "sqlite-full": () => sqlite("FULL"),
  memory: () => Promise.resolve({ saver: new MemorySaver(), step: measured, end: () => {} }),
}

/** What the files below a folder take of the disk. */
const bytesIn = async (path: string): Promise<number> => {
  const entries = await readdir(path, { recursive: true })
  const sizes = await Promise.all(entries.map(async (entry) => (await stat(`${path}/${entry}`)).blocks * 512))
  return sizes.reduce((sum, size) => sum + size, 0)
}

await mkdir(folder, { recursive: true })
const { saver, step, end } = await subjects[name]()
const agent = new StateGraph(MessagesAnnotation)
  .addNode("answer", ({ messages }) => ({ messages: [new AIMessage(message(messages.length))] }))
  .addEdge(START, "answer")
  .addEdge("answer", END)
  .compile({ checkpointer: saver })
const thread = { configurable: { thread_id: "thread" } }

const result = await step(turns, async () => {
  for (let turn = 0; turn < turns; turn++) {
    const { messages } = await agent.invoke({ messages: [new HumanMessage(message(turn))] }, thread)
    if (messages.length !== 2 * (turn + 1)) throw new Error(`${messages.length} messages after ${turn + 1} turns`)
  }
})
await end()
const stored = await bytesIn(folder)
await rm(folder, { recursive: true, force: true })
console.log(JSON.stringify({ ...result, ...(stored === 0 ? {} : { stored }) }))
process.exit(0)
