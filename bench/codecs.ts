/**
 * How fast are compressed saves and loads, beside the codecs' own tools on the same bytes at the same level?
 *
 * The bytes are a tar of node_modules: programs, text and the binaries of two runtimes. Everything lies in memory
 * (/dev/shm) where there is such a place, so that the codecs are compared and not the disk.
 *
 * @module
 */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { root } from "../scripts/tools.ts"
import { compare, type Report, type Variant } from "./harness.ts"

/** What the measurements take. */
export interface CodecOptions {
  readonly rounds: number
  /** Bytes that are saved and loaded. */
  readonly bytes: number
}

/** Runs the questions about the codecs. */
export const codecs = async ({ rounds, bytes }: CodecOptions): Promise<Report["questions"]> => {
  const folder = await mkdtemp(`${existsSync("/dev/shm") ? "/dev/shm" : tmpdir()}/holdfast-bench-`)
  await mkdir(`${folder}/store`)
  try {
    execFileSync("bash", ["-c", `tar cf - node_modules | head -c ${bytes} > ${folder}/corpus`], { cwd: root })
    const worker = "codecs.ts"
    const holdfast = (verb: string, codec: string, runtime: "bun" | "deno"): Variant => ({
      name: "Holdfast",
      worker,
      args: [`holdfast-${verb}`, codec],
      runtime,
    })
    const other = (name: string, variant: string, codec: string, runtime: "bun" | "deno"): Variant => ({
      name,
      worker,
      args: [variant, codec],
      runtime,
    })
    const asked: ReadonlyArray<readonly [string, ReadonlyArray<Variant>]> = [
      ["save, zstd 3, Bun", [holdfast("save", "zstd", "bun"), other("zstd -T2 -3", "tool-save", "zstd", "bun")]],
      ["save, gzip 6, Bun", [holdfast("save", "gzip", "bun"), other("pigz -p2 -6", "tool-save", "gzip", "bun")]],
      ["load, zstd, Bun", [holdfast("load", "zstd", "bun"), other("zstd -d", "tool-load", "zstd", "bun")]],
      ["load, gzip, Bun", [holdfast("load", "gzip", "bun"), other("gzip -d", "tool-load", "gzip", "bun")]],
      ["save, zstd 3, Deno", [holdfast("save", "zstd", "deno"), other("one thread", "thread-save", "zstd", "deno")]],
      ["save, gzip 6, Deno", [holdfast("save", "gzip", "deno"), other("one thread", "thread-save", "gzip", "deno")]],
      ["load, zstd, Deno", [holdfast("load", "zstd", "deno"), other("zstd -d", "tool-load", "zstd", "bun")]],
      ["load, gzip, Deno", [holdfast("load", "gzip", "deno"), other("gzip -d", "tool-load", "gzip", "bun")]],
      ["1 MiB from the middle, zstd, Bun", [
        holdfast("range", "zstd", "bun"),
        other("its frames, read and decoded", "frames-range", "zstd", "bun"),
      ]],
    ]
    const questions: Array<Report["questions"][number]> = []
    for (const [question, variants] of asked) {
      questions.push({ question, rows: await compare(question, "MB/s", variants, { rounds, folder }) })
    }
    return questions
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
