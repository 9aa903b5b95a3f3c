/**
 * `bun run bench [disk|codecs|s3|http|agents …] [--rounds N] [--size MiB] [--objects N] [--against REF] [--keep]`
 *
 * Runs the suites named, or all. Prints every figure; `--keep` also writes `bench/results/` and the tables of README.
 * With `--against` a git ref of Holdfast is measured in the same rounds, on the disk.
 *
 * @module
 */
import { execFileSync } from "node:child_process"
import { mkdtemp, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { parseArgs } from "node:util"
import { install, root } from "../scripts/tools.ts"
import { agents } from "./agents.ts"
import { codecs } from "./codecs.ts"
import { disk } from "./disk.ts"
import { keep, limitLine, type Report } from "./harness.ts"
import { http } from "./http.ts"
import { writeReadme } from "./readme.ts"
import { s3 } from "./s3.ts"

const suites = ["disk", "codecs", "s3", "http", "agents"] as const
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    size: { type: "string", default: "1024" },
    objects: { type: "string", default: "2000" },
    against: { type: "string" },
    keep: { type: "boolean", default: false },
  },
})

const unknown = positionals.find((name) => !(suites as ReadonlyArray<string>).includes(name))
if (unknown !== undefined) throw new Error(`there is no suite "${unknown}"; there are ${suites.join(", ")}`)
const wanted = (name: typeof suites[number]): boolean => positionals.length === 0 || positionals.includes(name)
/** Prints where the figures of a suite are kept, and puts them into README. */
const kept = async (suite: typeof suites[number], results: Pick<Report, "questions" | "limits">): Promise<void> => {
  for (const limit of results.limits ?? []) {
    console.log(`  ${limitLine(limit)}${limit.value > limit.most ? "  MISSES" : ""}`)
  }
  if (!values.keep) return
  console.log(`\nwritten to ${await keep(suite, results)} and README.md`)
  await writeReadme()
}

install()
const folder = await mkdtemp(`${tmpdir()}/holdfast-bench-`)
const checkout = `${folder}/against/`
try {
  if (values.against !== undefined) {
    execFileSync("git", ["-C", root, "worktree", "add", "--detach", checkout, values.against], { stdio: "ignore" })
    await symlink(`${root}node_modules`, `${checkout}node_modules`)
  }
  const rounds = Number(values.rounds)
  const bytes = Number(values.size) * 2 ** 20
  const objects = Number(values.objects)
  if (wanted("disk")) {
    const against = values.against === undefined ? undefined : { ref: values.against, checkout }
    await kept("disk", { questions: await disk({ rounds, bytes, objects, folder: `${folder}/data`, against }) })
  }
  if (wanted("codecs")) {
    await kept("codecs", { questions: await codecs({ rounds, bytes: Math.min(bytes, 512 * 2 ** 20) }) })
  }
  if (wanted("s3")) await kept("s3", await s3({ rounds: Math.min(rounds, 3), bytes, objects, folder }))
  if (wanted("http")) {
    await kept("http", { questions: await http({ rounds, bytes, objects, folder: `${folder}/http` }) })
  }
  if (wanted("agents")) await kept("agents", await agents({ rounds: Math.min(rounds, 3), objects, folder }))
} finally {
  if (values.against !== undefined) {
    execFileSync("git", ["-C", root, "worktree", "remove", "--force", checkout], { stdio: "ignore" })
  }
  await rm(folder, { recursive: true, force: true })
}
process.exit(0)
