/**
 * How fast is the local disk through Holdfast, beside a plain program that is as careful?
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
  /** Another checkout to measure against, and its name. */
  readonly against: { readonly ref: string; readonly checkout: string } | undefined
}

/** Runs the questions about the disk. */
export const disk = async (options: BenchOptions): Promise<Report["questions"]> => {
  const pair = (verb: string, size: number, runtime: "bun" | "deno"): ReadonlyArray<Variant> => {
    const worker = "disk.ts"
    const holdfast = { name: "Holdfast", worker, args: [`holdfast-${verb}`, `${size}`], runtime }
    const plain = { name: "plain files", worker, args: [`plain-${verb}`, `${size}`], runtime }
    const { against } = options
    return against === undefined
      ? [holdfast, plain]
      : [holdfast, { ...holdfast, name: `Holdfast at ${against.ref}`, checkout: against.checkout }, plain]
  }
  const questions: Array<Report["questions"][number]> = []
  const ask = async (question: string, unit: "MB/s" | "objects/s", variants: ReadonlyArray<Variant>): Promise<void> => {
    questions.push({ question, rows: await compare(question, unit, variants, options) })
  }
  const large = `${Math.round(options.bytes / 2 ** 20)} MiB`
  for (const runtime of ["bun", "deno"] as const) {
    const on = runtime === "bun" ? "Bun" : "Deno"
    await ask(`durable save of ${large}, ${on}`, "MB/s", pair("save", options.bytes, runtime))
    await ask(`load of ${large}, ${on}`, "MB/s", pair("load", options.bytes, runtime))
    await ask(
      `durable save of ${options.objects} objects of 4 KiB, 32 in flight, ${on}`,
      "objects/s",
      pair("small", options.objects, runtime),
    )
  }
  return questions
}
