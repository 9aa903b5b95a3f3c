/**
 * Runs the suites of benchmarks that are named, or all, and prints every figure; `--help` says how.
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

const usage = `bun run bench [SUITE …] [--rounds N] [--size MiB] [--objects N] [--against REF] [--keep]

  SUITE      ${suites.join(", ")}; all, where none is named
  --rounds   measurements of each figure, of which the median counts (5)
  --size     bytes of large objects, in MiB (1024)
  --objects  small objects (2000)
  --against  measures this git ref of Holdfast as well, on the disk
  --keep     writes bench/results/ and the tables of README`

/** Ends with how the program is used: on request, or since it was used wrongly. */
const explain = (problem?: string): never => {
  if (problem === undefined) console.log(usage)
  else console.error(`${problem}\n\n${usage}`)
  process.exit(problem === undefined ? 0 : 2)
}

const given = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: "string", default: "5" },
        size: { type: "string", default: "1024" },
        objects: { type: "string", default: "2000" },
        against: { type: "string" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    })
  } catch (error) {
    return explain((error as Error).message)
  }
}

const { values, positionals } = given()
if (values.help) explain()
const unknown = positionals.find((name) => !(suites as ReadonlyArray<string>).includes(name))
if (unknown !== undefined) explain(`there is no suite "${unknown}"`)
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
