/**
 * `bun run bench [--rounds N] [--size MiB] [--objects N] [--against REF] [--keep]`
 *
 * Prints every figure; `--keep` also writes `bench/results/` and the tables of README. With `--against` a git
 * ref of Holdfast is measured in the same rounds.
 *
 * @module
 */
import { execFileSync } from "node:child_process"
import { mkdtemp, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { parseArgs } from "node:util"
import { install, root } from "../scripts/tools.ts"
import { disk } from "./disk.ts"
import { keep } from "./harness.ts"
import { writeReadme } from "./readme.ts"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    size: { type: "string", default: "1024" },
    objects: { type: "string", default: "2000" },
    against: { type: "string" },
    keep: { type: "boolean", default: false },
  },
})

install()
const folder = await mkdtemp(`${tmpdir()}/holdfast-bench-`)
const checkout = `${folder}/against/`
try {
  if (values.against !== undefined) {
    execFileSync("git", ["-C", root, "worktree", "add", "--detach", checkout, values.against], { stdio: "ignore" })
    await symlink(`${root}node_modules`, `${checkout}node_modules`)
  }
  const questions = await disk({
    rounds: Number(values.rounds),
    bytes: Number(values.size) * 2 ** 20,
    objects: Number(values.objects),
    folder: `${folder}/data`,
    against: values.against === undefined ? undefined : { ref: values.against, checkout },
  })
  if (values.keep) {
    console.log(`\nwritten to ${await keep("disk", questions)} and README.md`)
    await writeReadme()
  }
} finally {
  if (values.against !== undefined) {
    execFileSync("git", ["-C", root, "worktree", "remove", "--force", checkout], { stdio: "ignore" })
  }
  await rm(folder, { recursive: true, force: true })
}
process.exit(0)
