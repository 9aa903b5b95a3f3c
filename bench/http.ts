/**
 * What does a server in between cost? A folder through `storeRoutes` and the remote backend, over the loopback, beside
 *
 * - the same folder directly. Its loads come out of the page cache, faster than a loopback carries anything.
 * - the same parts directly: what the server does for a save, whose parts survive a restart and so are flushed one by one
 * - the runtime's own server and `fetch`, with no store behind them: the most that there is to have
 *
 * Client and server share the machine's processors here, which two machines would not.
 *
 * @module
 */
import { compare, type Report, type Variant } from "./harness.ts"

/** What the measurements take. */
export interface BenchOptions {
  readonly rounds: number
  /** Bytes of the large object. */
  readonly bytes: number
  /** Number of small objects. */
  readonly objects: number
  readonly folder: string
}

/** The least that a served folder is to reach of what does the same without a server, and of a server without a folder. */
const bar = 0.7

/** Runs the questions about served stores. */
export const http = async (options: BenchOptions): Promise<Report["questions"]> => {
  const row = (name: string, args: ReadonlyArray<string>, runtime: "bun" | "deno", bar?: number): Variant => ({
    ...{ name, worker: "http.ts", args, runtime },
    ...(bar === undefined ? {} : { bar }),
  })
  const questions: Array<Report["questions"][number]> = []
  const ask = async (question: string, unit: "MB/s" | "objects/s", variants: ReadonlyArray<Variant>): Promise<void> => {
    questions.push({ question, rows: await compare(question, unit, variants, options) })
  }
  const large = `${Math.round(options.bytes / 2 ** 20)} MiB`
  for (const runtime of ["bun", "deno"] as const) {
    const on = runtime === "bun" ? "Bun" : "Deno"
    const bytes = `${options.bytes}`
    await ask(`durable save of ${large} through a server, ${on}`, "MB/s", [
      row("served folder", ["served-save", bytes], runtime),
      row("folder", ["direct-save", bytes], runtime),
      row("folder, the same parts", ["direct-parts", bytes], runtime, bar),
      row("bare server and fetch", ["bare-save", bytes], runtime),
    ])
    await ask(`load of ${large} through a server, ${on}`, "MB/s", [
      row("served folder", ["served-load", bytes], runtime),
      row("folder", ["direct-load", bytes], runtime),
      row("bare server and fetch", ["bare-load", bytes], runtime, bar),
    ])
    const objects = `${options.objects}`
    await ask(`durable save of ${objects} objects of 4 KiB through a server, 32 in flight, ${on}`, "objects/s", [
      row("served folder", ["served-small", objects], runtime),
      row("folder", ["direct-small", objects], runtime, bar),
    ])
  }
  return questions
}
