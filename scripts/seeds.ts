/**
 * `docs/seeds.md`: which promise of the five storage pages that Holdfast began from is proven by which tests, and on
 * which kinds of place. `bun scripts/seeds.ts` writes it out of the names of the tests; a test holds the page against
 * them, and fails when a row that must have a test has none.
 *
 * @module
 */
import { readdir, readFile, writeFile } from "node:fs/promises"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { suite as checkpoints } from "../src/stores/checkpoints-testing.ts"
import { suite as documents } from "../src/stores/documents-testing.ts"
import { suite as execution } from "../src/stores/execution-testing.ts"
import { suite as snapshots } from "../src/stores/snapshots-testing.ts"
import type { PlaceName, Suite } from "../src/stores/testing.ts"
import data from "./seed-rows.json" with { type: "json" }

const root = fileURLToPath(new URL("..", import.meta.url))

const suites: ReadonlyArray<Suite> = [execution, snapshots, documents, checkpoints]
const places: ReadonlyArray<PlaceName> = ["memory", "disk", "peer", "ceph"]

/** Tables of rows that must each have a test. */
const demanded: ReadonlySet<string> = new Set(["T1", "T2", "T5", "T6", "T7", "T8", "T9", "T10"])

/** Rows of those tables that Holdfast does not do yet, and why. */
const notYet: Readonly<Record<number, string>> = {
  96: "not there yet: the Azure backend",
  97: "not there yet: Google Cloud Storage has its own backend to come; MinIO by its profile, unproven",
}

/** The tests in which a row is named. */
interface Proof {
  readonly places: Set<PlaceName>
  readonly files: Set<string>
}

/** Titles such as `row 4: …` and `rows 32, 119 on disk: …`. */
const title = /\brows? (\d+(?:(?:, | and )\d+)*)(?=[: ])/g

/** All proofs, by row. */
const findProofs = async (): Promise<ReadonlyMap<number, Proof>> => {
  const proofs = new Map<number, Proof>()
  const proofOf = (row: number): Proof => {
    const known = proofs.get(row) ?? { places: new Set(), files: new Set() }
    proofs.set(row, known)
    return known
  }
  for (const { cases } of suites) {
    for (const { rows, on = places } of cases) {
      for (const row of rows) for (const place of on) proofOf(row).places.add(place)
    }
  }
  const files = (await readdir(`${root}src`, { recursive: true })).filter((file) => file.endsWith(".test.ts")).sort()
  for (const file of files) {
    const text = await readFile(`${root}src/${file}`, "utf8")
    for (const [, quoted] of text.matchAll(/\b(?:test|add|on|onlyOn\([^)]*\)|[a-z]\w+)\(\s*[`"']([^`"'\n]*)/g)) {
      for (const [, rows] of quoted!.matchAll(title)) {
        for (const row of rows!.split(/, | and /)) proofOf(Number(row)).files.add(file)
      }
    }
  }
  return proofs
}

/** Rows that must have a test and have none. */
export const unproven = async (): Promise<ReadonlyArray<number>> => {
  const proofs = await findProofs()
  return data.rows.filter(({ row, table }) => demanded.has(table) && notYet[row] === undefined && !proofs.has(row))
    .map(({ row }) => row)
}

/** The page. */
export const page = async (): Promise<string> => {
  const proofs = await findProofs()
  const lines = [
    "# What the five storage pages promise, and what proves it",
    "",
    "Holdfast began from the storage pages of four projects: Perstack (S0), Persist (S1, S4), JACS (S2) and a LangGraph",
    "checkpointer (S3). Each promise of theirs is a row. A mark says that a test named by the row runs on that kind of place;",
    "other tests are named by their files. Written by `bun scripts/seeds.ts` out of the names of the tests.",
  ]
  for (const [table, heading] of Object.entries(data.tables)) {
    lines.push("", `## ${table}. ${heading}`, "")
    lines.push("| row | seed | promise | memory | disk | S3 peer | Ceph | tests elsewhere |")
    lines.push("|---|---|---|---|---|---|---|---|")
    for (const { row, seeds, promise } of data.rows.filter((one) => one.table === table)) {
      const proof = proofs.get(row)
      const marks = places.map((place) => proof?.places.has(place) ? "✓" : "")
      const elsewhere = notYet[row] ?? [...proof?.files ?? []].map((file) => `\`${file}\``).join(", ")
      lines.push(`| ${[row, seeds, promise.replaceAll("|", "\\|"), ...marks, elsewhere].join(" | ")} |`)
    }
  }
  return `${lines.join("\n")}\n`
}

if (import.meta.main) {
  await writeFile(`${root}docs/seeds.md`, await page())
  const missing = await unproven()
  if (missing.length > 0) {
    console.error(`no test for rows ${missing.join(", ")}`)
    process.exitCode = 1
  }
}
