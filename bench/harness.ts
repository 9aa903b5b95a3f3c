/**
 * How measurements are made: each in a fresh process, the variants of a question in turn and the order reversed
 * every round, so that drift of the machine hits all alike. What is quoted are medians and ratios.
 *
 * @module
 */
import { execFile, execFileSync } from "node:child_process"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { cpus, totalmem, type } from "node:os"
import process from "node:process"
import { promisify } from "node:util"
import { bun, deno, root } from "../scripts/tools.ts"

/** One way to do the work of a question. */
export interface Variant {
  readonly name: string
  /** Worker in `bench/workers/`, and its arguments. */
  readonly worker: string
  readonly args: ReadonlyArray<string>
  readonly runtime: "bun" | "deno"
  /** The checkout whose Holdfast is measured; the default is this one. */
  readonly checkout?: string | undefined
  /** The least that the first variant of the question is to reach as a multiple of this one. */
  readonly bar?: number | undefined
}

/** What a worker prints as its only line. */
export interface Sample {
  /** Wall time of the work alone, without start and imports. */
  readonly ms: number
  /** What was done in that time, in bytes or objects. */
  readonly work: number
}

/** All samples of a variant, with the peak resident memory and processor time of the whole process. */
export interface Measured {
  readonly variant: string
  readonly runtime: string
  readonly unit: "MB/s" | "objects/s" | "turns/s"
  readonly rates: ReadonlyArray<number>
  /** Of the process that measures; for a tool that it starts this says nothing. */
  readonly peakMiB: number
  readonly cpuSeconds: number
  /** The longest time that the event loop stood still, in milliseconds, where the worker looked. */
  readonly blockedMs?: number
  /** See {@link Variant.bar}. */
  readonly bar?: number
  /** Requests of one round by their names, where the worker counted them: the most of all rounds. */
  readonly requests?: Readonly<Record<string, number>>
  /** What one round did, in objects or turns; said where requests are. */
  readonly work?: number
  /** What was left on the disk, in MiB, where the worker looked. */
  readonly storedMiB?: number
}

/** A figure that stands alone, and the most that it may be. */
export interface Limit {
  readonly what: string
  readonly value: number
  readonly unit: string
  readonly most: number
}

/** The middle value. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** A sample, and what its process has cost: bytes, seconds and milliseconds. */
export interface WorkerResult extends Sample {
  readonly peak: number
  readonly cpu: number
  readonly blocked?: number
  readonly requests?: Readonly<Record<string, number>>
  readonly stored?: number
}

const once = async <R>(variant: Variant, folder: string): Promise<R> => {
  const [program, ...first] = variant.runtime === "bun" ? bun() : deno()
  const flags = variant.runtime === "bun" ? [] : ["run", "-A", "--no-check"]
  const { stdout } = await promisify(execFile)(
    program,
    [...first, ...flags, `${root}bench/workers/${variant.worker}`, folder, ...variant.args],
    { env: { ...process.env, HOLDFAST_CHECKOUT: variant.checkout ?? root }, maxBuffer: 2 ** 24 },
  )
  return JSON.parse(stdout) as R
}

/** How often variants are run, and the folder that their workers are given. */
export interface MeasureOptions {
  readonly rounds: number
  readonly folder: string
  /** A round beforehand, which warms caches and is not counted. Default `true`. */
  readonly warmUp?: boolean
}

/** Runs variants `rounds` times, interleaved; each one's results, which are {@link WorkerResult}s unless said. */
export const measure = async <R = WorkerResult>(
  variants: ReadonlyArray<Variant>,
  { rounds, folder, warmUp = true }: MeasureOptions,
): Promise<ReadonlyArray<ReadonlyArray<R>>> => {
  const results = variants.map((): Array<R> => [])
  for (let round = warmUp ? -1 : 0; round < rounds; round++) {
    const order = variants.map((_, i) => i)
    if (round % 2 !== 0) order.reverse()
    for (const i of order) {
      const result = await once<R>(variants[i]!, folder)
      if (round >= 0) results[i]!.push(result)
    }
  }
  return results
}

/** Runs the variants of one question, and prints what came out. */
export const compare = async (
  question: string,
  unit: Measured["unit"],
  variants: ReadonlyArray<Variant>,
  options: MeasureOptions,
): Promise<ReadonlyArray<Measured>> => {
  console.log(`\n${question}`)
  return summarize(unit, variants, await measure(variants, options))
}

/** What the results of a question come to. Prints it. */
export const summarize = (
  unit: Measured["unit"],
  variants: ReadonlyArray<Variant>,
  results: ReadonlyArray<ReadonlyArray<WorkerResult>>,
): ReadonlyArray<Measured> => {
  const measured = variants.map((variant, i): Measured => ({
    variant: variant.name,
    runtime: variant.runtime,
    unit,
    rates: results[i]!.map(({ work, ms }) => unit === "MB/s" ? work / 1e3 / ms : work * 1e3 / ms),
    peakMiB: Math.round(Math.max(...results[i]!.map((result) => result.peak)) / 2 ** 20),
    cpuSeconds: median(results[i]!.map((result) => result.cpu)),
    ...(results[i]![0]?.blocked === undefined
      ? {}
      : { blockedMs: Math.round(median(results[i]!.map((result) => result.blocked ?? 0))) }),
    ...(variant.bar === undefined ? {} : { bar: variant.bar }),
    ...counts(results[i]!),
  }))
  for (const row of measured) console.log(line(row, measured[0]!))
  return measured
}

const counts = (results: ReadonlyArray<WorkerResult>): Pick<Measured, "requests" | "work" | "storedMiB"> => {
  const [first] = results
  const requests: Record<string, number> = {}
  for (const result of results) {
    for (const [name, count] of Object.entries(result.requests ?? {})) {
      requests[name] = Math.max(requests[name] ?? 0, count)
    }
  }
  return {
    ...(first?.requests === undefined ? {} : { requests, work: first.work }),
    ...(first?.stored === undefined
      ? {}
      : { storedMiB: Math.round(median(results.map(({ stored = 0 }) => stored)) / 2 ** 20) }),
  }
}

/** Requests as words: those of each object or turn, else those of all of them together. */
export const requestsLine = ({ requests = {}, work = 1 }: Measured): string =>
  Object.entries(requests).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([name, count]) => count % work === 0 ? `${count / work} ${name} each` : `${count} ${name}`).join(", ")

/** Ratios pair by pair: the machine's speed drifts, the ratio of neighbours much less. */
export const ratio = (row: Measured, against: Measured): number =>
  median(row.rates.map((rate, i) => rate / against.rates[i]!))

const line = (row: Measured, first: Measured): string =>
  [
    `  ${row.variant.padEnd(34)} ${row.runtime.padEnd(5)}`,
    `${median(row.rates).toFixed(0).padStart(7)} ${row.unit}`,
    `${(row === first ? 1 : ratio(first, row)).toFixed(2).padStart(6)} × (${first.variant} to it)`,
    `${row.peakMiB.toString().padStart(5)} MiB peak`,
    `${row.cpuSeconds.toFixed(2).padStart(6)} s cpu`,
    ...(row.blockedMs === undefined ? [] : [`${row.blockedMs.toString().padStart(4)} ms blocked`]),
    ...(row.bar === undefined ? [] : [`${ratio(first, row) < row.bar ? "MISSES" : "reaches"} ${row.bar} ×`]),
    ...(row.requests === undefined ? [] : [requestsLine(row)]),
    ...(row.storedMiB === undefined ? [] : [`${row.storedMiB} MiB stored`]),
  ].join("  ")

/** A run of the benchmarks, as it is kept in `bench/results/`. */
export interface Report {
  readonly suite: string
  readonly date: string
  readonly commit: string
  readonly machine: string
  readonly versions: Readonly<Record<string, string>>
  readonly questions: ReadonlyArray<{ readonly question: string; readonly rows: ReadonlyArray<Measured> }>
  readonly limits?: ReadonlyArray<Limit>
}

const git = (...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-C", root, ...args], { encoding: "utf8" }).trim()

/** A limit as a line of text. */
export const limitLine = ({ what, value, unit, most }: Limit): string =>
  `${what}: ${Number(value.toFixed(1))} ${unit} (at most ${most})`

/** Writes a report and returns its path. */
export const keep = async (suite: string, results: Pick<Report, "questions" | "limits">): Promise<string> => {
  const json = async (file: string): Promise<{ version: string }> => JSON.parse(await readFile(root + file, "utf8"))
  const commit = git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "--", "src") === "" ? "" : "+")
  const report: Report = {
    suite,
    date: new Date().toISOString().slice(0, 10),
    commit,
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()}`,
    versions: {
      bun: (await json("node_modules/bun/package.json")).version,
      deno: (await json("node_modules/deno/package.json")).version,
      effect: (await json("node_modules/effect/package.json")).version,
    },
    ...results,
  }
  await mkdir(`${root}bench/results`, { recursive: true })
  const path = `bench/results/${suite}.json`
  await writeFile(root + path, JSON.stringify(report, undefined, 2) + "\n")
  return path
}
