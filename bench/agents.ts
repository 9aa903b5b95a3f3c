/**
 * What does the state of agents cost? Events and checkpoints in memory, on disk and in S3, with every request counted;
 * and an agent of LangGraph.js on Holdfast's saver beside LangGraph's own.
 *
 * Times are this machine's. How many requests a step takes is the same everywhere, and on S3 it is what is paid for:
 * these figures are exact, and a step that takes more misses.
 *
 * @module
 */
import {
  compare,
  type Limit,
  measure,
  type Measured,
  type Report,
  summarize,
  type Variant,
  type WorkerResult,
} from "./harness.ts"
import type { PlaceName } from "./workers/agents-place.ts"

/** What the measurements take. */
export interface AgentsBenchOptions {
  readonly rounds: number
  /** 2,000 stand for 10,000 events, 1,000 checkpoints and 500 turns; others in proportion. */
  readonly objects: number
  readonly folder: string
}

/** Keys in a page of a listing, as S3 has it. */
const page = 1000

/** What is done in one place, by the names of the methods that do it. */
export type StepName =
  | "storeEvent"
  | "getEventsByRun"
  | "getEventContents"
  | "storeCheckpoint"
  | "getCheckpointsByJobId"
  | "save"
  | "list"
  | "history"
  | "load"

/** The steps in their order: what is asked, and the requests that a step is to take. */
const stepsOf = (
  events: number,
  checkpoints: number,
): Readonly<Record<StepName, { readonly question: string; readonly requests: number }>> => {
  const [manyEvents, manyCheckpoints] = [events.toLocaleString("en"), checkpoints.toLocaleString("en")]
  const [eventPages, pages] = [Math.ceil(events / page), Math.ceil(checkpoints / page)]
  // Beside its checkpoints a thread has the record of its latest one.
  const threadPages = Math.ceil((checkpoints + 1) / page)
  return {
    storeEvent: { question: `${manyEvents} events stored, 32 in flight`, requests: events },
    getEventsByRun: { question: `what ${manyEvents} events are, by their names`, requests: eventPages },
    getEventContents: { question: `${manyEvents} events read`, requests: eventPages + events },
    storeCheckpoint: { question: `${manyCheckpoints} checkpoints of a job stored, in turn`, requests: checkpoints },
    getCheckpointsByJobId: { question: `${manyCheckpoints} checkpoints of a job read`, requests: pages + checkpoints },
    save: { question: `${manyCheckpoints} checkpoints of a thread saved, in turn`, requests: 2 * checkpoints },
    list: { question: `${manyCheckpoints} checkpoints of a thread listed`, requests: threadPages },
    history: { question: `${manyCheckpoints} checkpoints of a thread read`, requests: threadPages + checkpoints },
    load: { question: `the latest of ${manyCheckpoints} loaded, 100 times`, requests: 200 },
  }
}

/** The places, as `workers/agents.ts` calls them, by the names that are printed. */
const places = {
  memory: "memory",
  disk: "disk",
  "S3, scripted peer": "S3",
} as const satisfies Readonly<Record<string, PlaceName>>

/** The savers, as `workers/agents-langgraph.ts` calls them. */
export type SaverName =
  | "holdfast-disk"
  | "holdfast-disk-plain"
  | "holdfast-memory"
  | "sqlite-normal"
  | "sqlite-full"
  | "memory"

const onDisk = {
  HoldfastSaver: "holdfast-disk",
  "HoldfastSaver, not compressed": "holdfast-disk-plain",
  "SqliteSaver over bun:sqlite": "sqlite-normal",
  "the same, synchronous=FULL": "sqlite-full",
} as const satisfies Readonly<Record<string, SaverName>>

const inMemory = {
  HoldfastSaver: "holdfast-memory",
  MemorySaver: "memory",
} as const satisfies Readonly<Record<string, SaverName>>

/** The requests of one turn: the latest checkpoint found and read, three stored, and the writes of two tasks. */
const turnRequests = 7

const total = ({ requests = {} }: Pick<Measured, "requests">): number =>
  Object.values(requests).reduce((sum, count) => sum + count, 0)

/** Runs the questions about the state of agents. */
export const agents = async (options: AgentsBenchOptions): Promise<Pick<Report, "questions" | "limits">> => {
  const { objects } = options
  // Each run is long and begins with nothing on the disk, so there is no cache to warm.
  const cold = { ...options, warmUp: false }
  const [events, checkpoints, turns] = [objects * 5, Math.ceil(objects / 2), Math.ceil(objects / 4)]
  const questions: Array<Report["questions"][number]> = []
  const limits: Array<Limit> = []

  const variants = Object.entries(places).map(([name, place]): Variant => ({
    name,
    worker: "agents.ts",
    args: [place, `${events}`, `${checkpoints}`],
    runtime: "bun",
  }))
  const results = await measure<Readonly<Record<StepName, WorkerResult>>>(variants, cold)
  const steps = stepsOf(events, checkpoints)
  for (const name of Object.keys(steps) as ReadonlyArray<StepName>) {
    const { question, requests } = steps[name]
    console.log(`\n${question}`)
    const rows = summarize("objects/s", variants, results.map((runs) => runs.map((run) => run[name])))
    questions.push({ question, rows })
    limits.push({ what: question, value: Math.max(...rows.map(total)), unit: "requests", most: requests })
  }

  for (const [where, savers] of [["on disk", onDisk], ["in memory", inMemory]] as const) {
    const variants = Object.entries(savers).map(([name, saver]): Variant => ({
      name,
      worker: "agents-langgraph.ts",
      args: [saver, `${turns}`],
      runtime: "bun",
    }))
    const question = `an agent's ${turns} turns, LangGraph.js ${where}`
    const rows = await compare(question, "turns/s", variants, cold)
    questions.push({ question, rows })
    const value = total(rows[0]!) / turns
    limits.push({ what: `a turn of that agent ${where}`, value, unit: "requests", most: turnRequests })
  }
  return { questions, limits }
}
